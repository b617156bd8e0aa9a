// What the field of a drawing does to a small photo, by the arithmetic of lumiere_core/photo/brush.py: tests/test_panels.py
// compares. Nothing in here knows the page.

import { clamp, depth, round, sampled, TURN } from "./brush_field.js";

const TRAINS = [[1, 1, 0, 0.55], [1.6, 1.7, 0.6, 0.3], [2.3, 2.3, -0.9, 0.15]];
const [SHORTEST, TRAVEL, PATCH, DISSOLVE] = [1.5, 0.06, 0.12, 0.3];
const STEPS = 12; // the engine takes 32

const cycles = (rate, seconds) => Math.max(1, round(rate * seconds));

function wobble(x, y, number) {
    let total = 0;
    for (let k = 0; k < 4; k++) {
        const n = 4 * number + k + 1;
        const angle = TURN * ((n * 0.6180339887498949) % 1);
        const start = TURN * ((n * 0.7548776662466927) % 1);
        total += Math.sin((x * Math.cos(angle) + y * Math.sin(angle)) * (TURN / (3 + k)) + start);
    }
    return total * Math.SQRT1_2;
}

/** phase -> heights of three trains of waves at places x, y, into `out`; at phase 0 there is none. */
function waves(layer, places, moves, width, height, aspect, seconds, seed) {
    const { row: preset, front, speed } = layer;
    const { size, away } = preset.water ? depth(moves, width, height) : { size: () => 1, away: (y) => y };
    const counts = TRAINS.map(([faster]) => cycles(speed * faster, seconds));
    const starts = TRAINS.map(() => new Float32Array(places.length));
    places.forEach(([x, y], i) => {
        const gx = (x - 0.5) / size(y) / preset.length;
        const gy = away(y) / aspect / preset.length;
        const [along, aside] = [gx * front[0] + gy * front[1], gx * front[1] - gy * front[0]];
        TRAINS.forEach(([, denser, slanted], k) => {
            starts[k][i] = TURN * (along * denser + aside * slanted) + wobble(gx, gy, 3 * seed + k);
        });
    });
    return (phase, i) => {
        let sum = 0;
        for (let k = 0; k < 3; k++) {
            const start = starts[k][i];
            sum += TRAINS[k][3] * Math.SQRT1_2 * (Math.sin(start - TURN * ((counts[k] * phase) % 1)) - Math.sin(start));
        }
        return sum;
    };
}

/** Displacements in photo widths after 0, 1, ... STEPS steps along a field on the grid. */
function traced(field, scale, width, height, aspect) {
    const path = [new Float32Array(2 * width * height)];
    const out = [0, 0];
    for (let k = 0; k < STEPS; k++) {
        const from = path[k];
        const to = new Float32Array(from);
        for (let i = 0; i < width * height; i++) {
            const x = ((i % width) + 0.5) / width + from[2 * i];
            const y = (Math.floor(i / width) + 0.5) / height + from[2 * i + 1] * aspect;
            sampled(field, 2, width, height, x, y, out);
            to[2 * i] += scale * out[0];
            to[2 * i + 1] += scale * out[1];
        }
        path.push(to);
    }
    return path;
}

/**
 * (phase, out) -> the small photo at this phase, RGBA in `out`.
 *
 * `small`: { width, height, pixels (RGBA), pin (0 at the mask's edge, 1 inside) }. `layers` lie on the grid of `grid`:
 * { width, height, moves }. `settings`: { motion, seconds, seed, aspect }.
 */
export function painter(small, layers, grid, { motion, seconds, seed, aspect }) {
    const { width, height, pixels, pin } = small;
    const cells = [];
    for (let i = 0; i < pin.length; i++) if (pin[i] > 0) cells.push(i);
    const places = cells.map((i) => [((i % width) + 0.5) / width, (Math.floor(i / width) + 0.5) / height]);
    const gridPin = new Float32Array(grid.width * grid.height);
    for (let i = 0; i < gridPin.length; i++) {
        const [x, y] = [((i % grid.width) + 0.5) / grid.width, (Math.floor(i / grid.width) + 0.5) / grid.height];
        gridPin[i] = sampled(pin, 1, width, height, x, y, [0])[0];
    }
    const flowing = new Float32Array(2 * gridPin.length);
    const waving = [];
    const lights = [];
    let [fastest, flows] = [0, false];
    for (const layer of layers) {
        if (layer.row.kind === "carried") {
            flows = true;
            for (let i = 0; i < flowing.length; i++) flowing[i] += layer.push[i] * gridPin[i >> 1] * motion * seconds;
        } else {
            const height_ = waves(layer, places, grid.moves, grid.width, grid.height, aspect, seconds, seed);
            const push = new Float32Array(2 * cells.length);
            cells.forEach((cell, k) => {
                const [x, y] = sampled(layer.push, 2, grid.width, grid.height, ...places[k], [0, 0]);
                const strength = pin[cell] * motion * layer.row.amount * width;
                [push[2 * k], push[2 * k + 1]] = [x * strength, y * strength];
            });
            waving.push([height_, push]);
        }
        if (layer.row.light) {
            const beats = [0.4, 1, 1.7, 2.6].map((faster) => cycles(layer.speed * faster, seconds));
            const here = places.map((at, k) => {
                const share = sampled(layer.share, 1, grid.width, grid.height, ...at, [0])[0];
                return share * pin[cells[k]] * motion * layer.row.light;
            });
            const sign = (i) => (((4 * seed + i + 1) * 0.6180339887498949) % 1 < 0.5 ? 1 : -1);
            lights.push([here, beats.map((beat, i) => [beat, sign(i)])]);
        }
    }
    for (let i = 0; i < flowing.length; i += 2) fastest = Math.max(fastest, Math.hypot(flowing[i], flowing[i + 1]));
    const starts = Math.max(1, Math.min(round(fastest / TRAVEL), Math.floor(seconds / SHORTEST)));
    const scale = 1 / (starts * STEPS);
    const behind = flows && traced(flowing, -scale, grid.width, grid.height, aspect);
    const ahead = flows && traced(flowing, scale, grid.width, grid.height, aspect);
    const when = places.map(([x, y]) => {
        const even = 1 / (1 + Math.exp(-1.7 * wobble(x / (PATCH / 2), y / aspect / (PATCH / 2), seed)));
        return DISSOLVE / 2 + (1 - DISSOLVE) * even;
    });

    const [colour, step] = [[0, 0, 0, 0], [0, 0]];
    const gone = new Float32Array(2 * gridPin.length);
    const to = new Float32Array(2 * gridPin.length);
    const along = (path, done, out) => {
        const low = Math.min(Math.floor(done * STEPS), STEPS - 1);
        const share = done * STEPS - low;
        for (let i = 0; i < out.length; i++) out[i] = path[low][i] + share * (path[low + 1][i] - path[low][i]);
    };
    return (phase, out) => {
        out.set(pixels);
        const done = (phase * starts) % 1;
        if (flows) {
            along(behind, done, gone);
            along(ahead, 1 - done, to);
        }
        const shines = lights.map(([, beats]) =>
            beats.reduce((sum, [n, sign]) => sum + sign * Math.sin(TURN * n * phase), 0) / 4,
        );
        cells.forEach((cell, k) => {
            const [x, y] = places[k];
            let [dx, dy] = [0, 0];
            for (const [height_, push] of waving) {
                const wave = height_(phase, k);
                dx += wave * push[2 * k];
                dy += wave * push[2 * k + 1];
            }
            let share = 0;
            if (flows) {
                share = clamp((done - when[k]) / DISSOLVE + 0.5, 0, 1);
                share = share * share * (3 - 2 * share);
            }
            const look = (table) => {
                let [sx, sy] = [dx / width, dy / height];
                if (table) {
                    sampled(table, 2, grid.width, grid.height, x, y, step);
                    sx += step[0];
                    sy += step[1] * aspect;
                }
                return sampled(pixels, 4, width, height, x + sx, y + sy, colour);
            };
            const [red, green, blue] = share < 1 ? look(flows ? gone : null) : look(to);
            let found = [red, green, blue];
            if (share > 0 && share < 1) {
                const fresh = look(to);
                found = found.map((value, c) => value + share * (fresh[c] - value));
            }
            lights.forEach(([here], l) => {
                const bright = (shines[l] * here[k] * Math.max(...found)) / 255;
                found = found.map((value, c) => value * (1 + bright * [0.7, 1, 1.3][c]));
            });
            for (let c = 0; c < 3; c++) out[4 * cell + c] = found[c];
        });
    };
}

/** How far the mask moves each pixel: 0 at its edge, 1 from `edge` photo widths inside on, times its grey. */
export function pinOf(mask, width, height, edge) {
    const far = Float32Array.from(mask, (value) => (value > 0 ? 1e9 : 0));
    if (far.every((value) => value)) return Float32Array.from(mask);
    const pass = (order, back) => {
        for (const i of order) {
            const [x, y] = [i % width, Math.floor(i / width)];
            for (const [dx, dy] of [[-1, 0], [0, -1], [-1, -1], [1, -1]]) {
                const [px, py] = [x + back * dx, y + back * dy];
                if (px < 0 || py < 0 || px >= width || py >= height) continue;
                far[i] = Math.min(far[i], far[py * width + px] + (dx && dy ? Math.SQRT2 : 1));
            }
        }
    };
    const order = Array.from(mask.keys());
    pass(order, 1);
    pass(order.reverse(), -1);
    return far.map((value, i) => {
        const ramp = edge > 0 ? clamp(value / (edge * width + 1), 0, 1) : value > 0 ? 1 : 0;
        return mask[i] * ramp * ramp * (3 - 2 * ramp);
    });
}
