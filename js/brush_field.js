// The field of motion of a drawing, by the arithmetic of lumiere_core/photo/field.py: tests/test_panels.py compares.
// Nothing in here knows the page.

const row = (kind, direction, speed, amount = 0, length = 0, light = 0, water = false) =>
    ({ kind, direction, speed, amount, length, light, water });

/** The rows of BRUSH_PRESETS in lumiere_core/photo/strokes.py. */
export const PRESETS = {
    drift: row("carried", 0, 0.015),
    flow: row("carried", 0, 0.04, 0, 0, 0, true),
    ripple: row("waves", 270, 0.5, 0.0025, 0.04, 0, true),
    sway: row("rooted", 0, 0.35, 0.008, 0.25),
    flicker: row("rooted", 90, 2, 0.003, 0.06, 0.25),
};

const [GRID, EDGE, LEAK, BARRIER, SWEEPS] = [96, 0.1, 0.02, 1e-3, 48];
const [AROUND, ANCHOR, BESIDE, HORIZON] = [0.12, 0.012, 0.02, 0.25];
export const TURN = 2 * Math.PI;

export const clamp = (x, low, high) => Math.min(high, Math.max(low, x));

/** To the nearest whole number, halves to the even one, as Python does. */
export function round(x) {
    const low = Math.floor(x);
    return x - low === 0.5 ? low + (low % 2) : Math.round(x);
}

/** Columns and rows of the field's grid. */
export function gridOf(width, height) {
    const scale = GRID / Math.max(width, height);
    return [Math.max(2, round(width * scale)), Math.max(2, round(height * scale))];
}

/**
 * The layers of a drawing: `push` (x, y a cell), `share`, `front`, `speed` and the preset's `row`.
 *
 * `photo` has 3 numbers a cell, `moves` one, each from 0 to 1. `own` is the brush's { preset, speed, direction }, with
 * null for a preset's own.
 */
export function layersOf({ strokes, anchors }, own, photo, moves, width, height, aspect) {
    const groups = new Map();
    for (const stroke of strokes.length ? strokes : [{ points: [] }]) {
        const preset = stroke.preset ?? own.preset;
        const speed = stroke.speed ?? own.speed ?? PRESETS[preset].speed;
        const key = `${preset} ${PRESETS[preset].kind === "carried" ? 0 : speed}`;
        if (!groups.has(key)) groups.set(key, { row: PRESETS[preset], speed, strokes: [] });
        groups.get(key).strokes.push({ speed, points: stroke.points ?? [] });
    }
    const channels = 3 * groups.size;
    const values = new Float32Array(width * height * channels);
    const count = new Float32Array(width * height);
    const lay = (cell, at, x, y) => {
        values[cell * channels + at] += x;
        values[cell * channels + at + 1] += y;
        values[cell * channels + at + 2] += 1;
        count[cell]++;
    };
    let at = 0;
    for (const group of groups.values()) {
        const total = [0, 0];
        for (const { points, speed } of group.strokes) {
            const add = (cell, x, y) => {
                lay(cell, at, x, y);
                total[0] += x;
                total[1] += y;
            };
            if (points.length) drawn(points, group.row, speed, width, height, aspect, add);
            else {
                const ways = strokes.length ? alongMask(moves, width, height, aspect) : null;
                everywhere(group.row, speed, own.direction, ways, anchors, moves, width, height, aspect, add);
            }
        }
        const length = Math.hypot(...total);
        group.front = length > 1e-6 ? total.map((t) => t / length) : [1, 0];
        at += 3;
    }
    const fixed = new Uint8Array(width * height);
    const still = near(anchors, ANCHOR, width, height, aspect);
    for (let i = 0; i < count.length; i++) {
        fixed[i] = count[i] || still[i] ? 1 : 0;
        for (let c = 0; c < channels; c++) values[i * channels + c] *= still[i] ? 0 : 1 / Math.max(1, count[i]);
    }
    const even = relaxed(photo, moves, values, fixed, width, height, channels);
    return [...groups.values()].map(({ row: preset, speed, front, strokes: members }, k) => {
        const push = new Float32Array(2 * width * height);
        const share = new Float32Array(width * height);
        const { size } = depth(moves, width, height);
        const hangs = preset.kind === "rooted" && members.every(({ points }) => points.length);
        for (let i = 0; i < share.length; i++) {
            const [x, y] = [((i % width) + 0.5) / width, (Math.floor(i / width) + 0.5) / height];
            const strength = (preset.water ? size(y) : 1) * (hangs ? grown(members, x, y / aspect, aspect) : 1);
            push[2 * i] = even[i * channels + 3 * k] * strength;
            push[2 * i + 1] = even[i * channels + 3 * k + 1] * strength;
            share[i] = clamp(even[i * channels + 3 * k + 2], 0, 1);
        }
        return { row: preset, speed, push, share, front };
    });
}

/** Lays a stroke down on the cells it passes. */
function drawn(points, preset, speed, width, height, aspect, add) {
    const line = points.map(([x, y]) => [x, y / aspect]);
    const marks = [0];
    for (let i = 1; i < line.length; i++) {
        marks.push(marks[i - 1] + Math.hypot(line[i][0] - line[i - 1][0], line[i][1] - line[i - 1][1]));
    }
    const long = marks.at(-1);
    const many = Math.max(1, Math.ceil(2 * width * long));
    let k = 0;
    const place = (mark) => {
        while (k < line.length - 2 && mark > marks[k + 1]) k++;
        const share = clamp((mark - marks[k]) / (marks[k + 1] - marks[k] || 1), 0, 1);
        return [0, 1].map((axis) => line[k][axis] + share * (line[k + 1][axis] - line[k][axis]));
    };
    let before = place(0);
    for (let i = 0; i < many; i++) {
        const after = place(((i + 1) * long) / many);
        const step = Math.max(1e-9, Math.hypot(after[0] - before[0], after[1] - before[1]));
        const [wx, wy] = [(after[0] - before[0]) / step, (after[1] - before[1]) / step];
        const x = clamp(Math.floor(((before[0] + after[0]) / 2) * width), 0, width - 1);
        const y = clamp(Math.floor(((before[1] + after[1]) / 2) * aspect * height), 0, height - 1);
        if (preset.kind === "rooted") add(y * width + x, -wy, wx);
        else if (preset.kind === "carried") add(y * width + x, wx * speed, wy * speed);
        else add(y * width + x, wx, wy);
        before = after;
    }
}

/** How far things on a root give way at a place in photo widths: 0 where strokes begin, 1 from their tips on. */
function grown(strokes, x, y, aspect) {
    let [total, weights] = [0, 0];
    for (const { points } of strokes) {
        const [[ax, ay], [bx, by]] = [points[0], points.at(-1)];
        const [dx, dy] = [bx - ax, (by - ay) / aspect];
        const share = ((x - ax) * dx + (y - ay / aspect) * dy) / Math.max(1e-9, dx * dx + dy * dy);
        const along = clamp(share, 0, 1);
        const away = (x - ax - along * dx) ** 2 + (y - ay / aspect - along * dy) ** 2;
        const weight = 1 / (away + BESIDE * BESIDE) ** 2;
        total += weight * along ** 1.5;
        weights += weight;
    }
    return total / weights;
}

/** Motion of the whole mask: in one direction, or by `ways`. */
function everywhere(preset, speed, direction, ways, anchors, moves, width, height, aspect, add) {
    const angle = (((direction ?? preset.direction) - (preset.light ? 90 : 0)) * TURN) / 360;
    const close = near(anchors, AROUND, width, height, aspect);
    const [top, bottom] = heightOf(moves, width, height);
    for (let i = 0; i < moves.length; i++) {
        if (!(moves[i] > 0) || close[i]) continue;
        const [x, y] = ways ? [ways[2 * i], ways[2 * i + 1]] : [Math.cos(angle), -Math.sin(angle)];
        const up = (bottom - (Math.floor(i / width) + 0.5) / height) / (bottom - top);
        const strength = { carried: speed, waves: 1, rooted: clamp(up, 0, 1) ** 1.5 }[preset.kind];
        add(i, x * strength, y * strength);
    }
}

/** Cells within so many photo widths of any point, and those that hold one. */
function near(points, radius, width, height, aspect) {
    const found = new Uint8Array(width * height);
    for (const [px, py] of points) {
        for (let i = 0; i < found.length; i++) {
            const dx = ((i % width) + 0.5) / width - px;
            const dy = ((Math.floor(i / width) + 0.5) / height - py) / aspect;
            if (dx * dx + dy * dy <= radius * radius) found[i] = 1;
        }
        found[Math.min(height - 1, Math.floor(py * height)) * width + Math.min(width - 1, Math.floor(px * width))] = 1;
    }
    return found;
}

/** Directions in which water would flow through the mask, from its left or upper end to the other. */
function alongMask(moves, width, height, aspect) {
    const cells = [];
    for (let i = 0; i < moves.length; i++) {
        if (moves[i] > 0) cells.push([i, ((i % width) + 0.5) / width, (Math.floor(i / width) + 0.5) / height / aspect]);
    }
    const mean = [1, 2].map((axis) => cells.reduce((sum, cell) => sum + cell[axis], 0) / cells.length);
    let [xx, xy, yy] = [0, 0, 0];
    for (const cell of cells) {
        const [dx, dy] = [cell[1] - mean[0], cell[2] - mean[1]];
        [xx, xy, yy] = [xx + dx * dx, xy + dx * dy, yy + dy * dy];
    }
    const angle = Math.atan2(2 * xy, xx - yy) / 2;
    let axis = [Math.cos(angle), Math.sin(angle)];
    if ((Math.abs(axis[0]) >= Math.abs(axis[1]) ? axis[0] : axis[1]) < 0) axis = axis.map((a) => -a);
    const along = cells.map((cell) => (cell[1] - mean[0]) * axis[0] + (cell[2] - mean[1]) * axis[1]);
    const [low, high] = along.reduce(([a, b], v) => [Math.min(a, v), Math.max(b, v)], [Infinity, -Infinity]);
    const room = 0.02 + 0.04 * (high - low);
    const values = new Float32Array(moves.length);
    const fixed = new Uint8Array(moves.length);
    cells.forEach(([i], k) => {
        if (along[k] <= low + room || along[k] >= high - room) fixed[i] = 1;
        if (along[k] >= high - room) values[i] = 1;
    });
    const grey = new Float32Array(3 * moves.length);
    const potential = relaxed(grey, moves, values, fixed, width, height, 1, 10 * SWEEPS, BARRIER);
    const ways = new Float32Array(2 * moves.length);
    for (const [i] of cells) {
        const slope = (a, b) => (moves[a] > 0 && moves[b] > 0 ? potential[b] - potential[a] : 0);
        const [x, y] = [i % width, Math.floor(i / width)];
        const dx = (x ? slope(i - 1, i) : 0) + (x < width - 1 ? slope(i, i + 1) : 0);
        const dy = (y ? slope(i - width, i) : 0) + (y < height - 1 ? slope(i, i + width) : 0);
        const length = Math.max(1e-9, Math.hypot(dx, dy));
        [ways[2 * i], ways[2 * i + 1]] = [dx / length, dy / length];
    }
    return ways;
}

/** Values that are kept where `fixed` and spread evenly between, less over edges of photo and mask. */
function relaxed(photo, moves, values, fixed, width, height, channels, sweeps = SWEEPS, leak = LEAK) {
    const bond = (a, b) => {
        let apart = 0;
        for (let c = 0; c < 3; c++) apart += (photo[3 * a + c] - photo[3 * b + c]) ** 2;
        return Math.exp(-apart / (2 * EDGE * EDGE)) * (moves[a] > 0 === moves[b] > 0 ? 1 : leak) + BARRIER;
    };
    const across = new Float32Array((width - 1) * height);
    const down = new Float32Array(width * (height - 1));
    for (let y = 0; y < height; y++) {
        for (let x = 0; x < width; x++) {
            const i = y * width + x;
            if (x < width - 1) across[y * (width - 1) + x] = bond(i, i + 1);
            if (y < height - 1) down[i] = bond(i, i + width);
        }
    }
    const kept = values.map((value, i) => (fixed[Math.floor(i / channels)] ? value : 0));
    return level(across, down, kept, fixed, width, height, channels, sweeps);
}

function level(across, down, values, fixed, width, height, channels, sweeps) {
    let field = values;
    if (Math.max(width, height) > 3) {
        const [w, h] = [(width + 1) >> 1, (height + 1) >> 1];
        const sums = new Float32Array(w * h * channels);
        const held = new Float32Array(w * h);
        for (let i = 0; i < fixed.length; i++) {
            const j = (Math.floor(i / width) >> 1) * w + ((i % width) >> 1);
            held[j] += fixed[i] ? 1 : 0;
            for (let c = 0; c < channels; c++) sums[j * channels + c] += values[i * channels + c];
        }
        for (let i = 0; i < sums.length; i++) sums[i] /= Math.max(1e-9, held[Math.floor(i / channels)]);
        const a = new Float32Array((w - 1) * h);
        const d = new Float32Array(w * (h - 1));
        for (let y = 0; y < h; y++) {
            for (let x = 0; x < w; x++) {
                const [right, below] = [Math.min(2 * x + 1, width - 1), Math.min(2 * y + 1, height - 1)];
                if (x < w - 1) {
                    const from = 2 * x + 1;
                    a[y * (w - 1) + x] = (across[2 * y * (width - 1) + from] + across[below * (width - 1) + from]) / 2;
                }
                if (y < h - 1) d[y * w + x] = (down[(2 * y + 1) * width + 2 * x] + down[(2 * y + 1) * width + right]) / 2;
            }
        }
        const coarse = level(a, d, sums, held.map((n) => (n ? 1 : 0)), w, h, channels, sweeps);
        field = new Float32Array(values);
        for (let i = 0; i < fixed.length; i++) {
            if (fixed[i]) continue;
            const j = (Math.floor(i / width) >> 1) * w + ((i % width) >> 1);
            for (let c = 0; c < channels; c++) field[i * channels + c] = coarse[j * channels + c];
        }
    }
    let next = new Float32Array(field);
    let now = new Float32Array(field);
    for (let sweep = 0; sweep < sweeps; sweep++) {
        for (let y = 0, i = 0; y < height; y++) {
            for (let x = 0; x < width; x++, i++) {
                if (fixed[i]) continue;
                const left = x ? across[y * (width - 1) + x - 1] : 0;
                const right = x < width - 1 ? across[y * (width - 1) + x] : 0;
                const above = y ? down[i - width] : 0;
                const below = y < height - 1 ? down[i] : 0;
                const total = Math.max(1e-9, left + right + above + below);
                for (let c = 0, o = i * channels; c < channels; c++, o++) {
                    let pulled = 0;
                    if (left) pulled += left * now[o - channels];
                    if (right) pulled += right * now[o + channels];
                    if (above) pulled += above * now[o - width * channels];
                    if (below) pulled += below * now[o + width * channels];
                    next[o] = now[o] + 0.9 * (pulled / total - now[o]);
                }
            }
        }
        [now, next] = [next, now];
    }
    return now;
}

function heightOf(moves, width, height) {
    let [top, bottom] = [height, 0];
    for (let i = 0; i < moves.length; i++) {
        if (!(moves[i] > 0)) continue;
        const y = Math.floor(i / width);
        [top, bottom] = [Math.min(top, y), Math.max(bottom, y + 1)];
    }
    return [top / height, bottom / height];
}

/** Sizes and distances of things on water, by their height in the picture. */
export function depth(moves, width, height) {
    const [top, bottom] = heightOf(moves, width, height);
    if (!(top > 0)) return { size: () => 1, away: (y) => y };
    const span = bottom - top + HORIZON;
    const mean = (HORIZON / span + 1) / 2;
    const size = (y) => Math.max(0.05, (y - top + HORIZON) / span) / mean;
    return { size, away: (y) => span * mean * Math.log(size(y)) };
}

/** A field of the grid at a place in shares of the photo, linearly, into `out`. */
export function sampled(field, channels, width, height, x, y, out) {
    const gx = clamp(x * width - 0.5, 0, width - 1);
    const gy = clamp(y * height - 0.5, 0, height - 1);
    const [x0, y0] = [Math.floor(gx), Math.floor(gy)];
    const [x1, y1] = [Math.min(width - 1, x0 + 1), Math.min(height - 1, y0 + 1)];
    const [fx, fy] = [gx - x0, gy - y0];
    for (let c = 0; c < channels; c++) {
        const a = field[(y0 * width + x0) * channels + c];
        const b = field[(y0 * width + x1) * channels + c];
        const d = field[(y1 * width + x0) * channels + c];
        const e = field[(y1 * width + x1) * channels + c];
        out[c] = (a + fx * (b - a)) * (1 - fy) + (d + fx * (e - d)) * fy;
    }
    return out;
}
