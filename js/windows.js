// The windows of a clip by the arithmetic of the engine's `Windows`, which tests/test_panels.py compares; and what is
// drawn of them.

const POINTS = 4000; // of all outlines together: more than a panel has pixels

/** To the nearest whole number, halves to the even one, as Python does. */
function round(x) {
    const low = Math.floor(x);
    return x - low === 0.5 ? low + (low % 2) : Math.round(x);
}

/** How many windows `plan` would lay out, or 0 for windows that cannot be. */
export function count(frames, window, overlap, wrap) {
    if (!(frames >= 1 && window >= 1 && overlap >= 0 && overlap < window)) return 0;
    if (window >= frames) return 1;
    return wrap ? Math.ceil(frames / (window - overlap)) : 1 + Math.ceil((frames - window) / (window - overlap));
}

const WEIGHTS = { triangle: (i, size) => Math.min(i + 1, size - i), flat: () => 1 };

/** Windows of `size` frames from each of `starts` on, and the share that window k has of its i-th frame. */
export function plan(frames, window, overlap, weights, wrap) {
    const size = Math.min(window, frames);
    const many = count(frames, window, overlap, wrap);
    const [span, gaps] = wrap ? [frames, many] : [frames - size, Math.max(1, many - 1)];
    const starts = Array.from({ length: many }, (_, k) => round((k * span) / gaps));
    const weight = Float64Array.from({ length: size }, (_, i) => WEIGHTS[weights](i, size));
    const total = new Float64Array(frames);
    for (const start of starts) weight.forEach((w, i) => (total[(start + i) % frames] += w));
    return { starts, size, share: (k, i) => weight[i] / total[(starts[k] + i) % frames] };
}

/**
 * Each window as runs of frames, two where it goes on round the end: its first frame, the one after its last, and
 * its shares as an SVG path from height 1 (none) up to 0 (the highest of all).
 */
export function outlines(frames, { starts, size, share }) {
    const stride = Math.max(1, Math.ceil((size * starts.length) / POINTS));
    let most = 0;
    for (const k of starts.keys()) for (let i = 0; i < size; i += stride) most = Math.max(most, share(k, i));
    const run = (k, from, to) => {
        const first = (starts[k] + from) % frames;
        let path = `M${first} 1`;
        for (let i = from; i < to; i += stride) {
            path += `V${(1 - share(k, i) / most).toFixed(3)}H${first + Math.min(i + stride, to) - from}`;
        }
        return { first, end: first + to - from, path: `${path}V1` };
    };
    return starts.map((start, k) => {
        const cut = Math.min(size, frames - start); // frames before the clip's end
        return cut < size ? [run(k, 0, cut), run(k, cut, size)] : [run(k, 0, size)];
    });
}
