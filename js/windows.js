// The windows of a clip, by the arithmetic of lumiere_core/windows.py; tests/test_panels.py compares them.

/** To the nearest whole number, halves to the even one, as Python does. */
function round(x) {
    const low = Math.floor(x);
    return x - low === 0.5 ? low + (low % 2) : Math.round(x);
}

export function starts(frames, window, overlap) {
    if (window >= frames) return [0];
    const count = 1 + Math.ceil((frames - window) / (window - overlap));
    return Array.from({ length: count }, (_, i) => round((i * (frames - window)) / (count - 1)));
}

export function startsAround(frames, window, overlap) {
    if (window >= frames) return [0];
    const count = Math.ceil(frames / (window - overlap));
    return Array.from({ length: count }, (_, i) => round((i * frames) / count));
}

const WEIGHTS = { triangle: (i, window) => Math.min(i + 1, window - i), flat: () => 1 };

/** Each window's frames and its share of them, as `[[frame, share], ...]`; null for windows that cannot be. */
export function parts(frames, window, overlap, weights, wrap) {
    if (!(weights in WEIGHTS) || window < 1 || overlap < 0 || overlap >= window) return null;
    const size = Math.min(window, frames);
    const places = (wrap ? startsAround : starts)(frames, size, Math.min(overlap, size - 1));
    const weight = Array.from({ length: size }, (_, i) => WEIGHTS[weights](i, size));
    const total = new Array(frames).fill(0);
    for (const start of places) weight.forEach((w, i) => (total[(start + i) % frames] += w));
    return places.map((start) =>
        weight.map((w, i) => [(start + i) % frames, w / total[(start + i) % frames]]),
    );
}
