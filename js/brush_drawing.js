// A drawing of Motion Brush: read from its JSON as lumiere_core/photo/strokes.py reads it, written back, and shown.

import { PRESETS } from "./brush_field.js";
import { set, shape } from "./lumiere.js";

export const COLOURS = { drift: "#cfd8ff", flow: "#a5d4ff", ripple: "#8fdf9b", sway: "#ffd45c", flicker: "#ff9a5c" };
const NEAR = 0.025; // photo widths: what is closer to the pointer is meant
const WIDE = 1000; // of the picture in the SVG's own units

/** { strokes, anchors } in shares of the photo, of `size` [width, height] in pixels. Throws for what is no drawing. */
export function read(text, size) {
    if (!text?.trim()) return { strokes: [], anchors: [] };
    let data = JSON.parse(text);
    if (Array.isArray(data)) {
        const lists = Array.isArray(data[0]) && typeof data[0][0] === "object" ? data : [data];
        const pixels = lists.flat().some((p) => Object.values(p).some((n) => n > 1));
        data = { strokes: lists.map((points) => ({ points })), size: pixels ? size : [1, 1] };
    }
    const [width, height] = data.size ?? [1, 1];
    const share = (p) => {
        const [x, y] = [(p.x ?? p[0]) / width, (p.y ?? p[1]) / height];
        if (!(x >= 0 && x <= 1 && y >= 0 && y <= 1)) throw new Error(`${p.x ?? p[0]},${p.y ?? p[1]} lies outside`);
        return [x, y];
    };
    const strokes = (data.strokes ?? []).map((stroke) => {
        if (stroke.preset && !(stroke.preset in PRESETS)) throw new Error(`there is no preset ${stroke.preset}`);
        return { ...stroke, points: (stroke.points ?? []).map(share) };
    });
    return { strokes, anchors: (data.anchors ?? []).map(share) };
}

const rounded = (points) => points.map((p) => p.map((n) => Math.round(n * 1e4) / 1e4));

export function write({ strokes, anchors }) {
    if (!strokes.length && !anchors.length) return "";
    const lines = strokes.map(({ points, ...rest }) => ({ ...rest, points: rounded(points) }));
    return JSON.stringify({ strokes: lines, anchors: rounded(anchors) });
}

/** A hand's line without its jitter: fewer points, each the mean of its neighbours. */
export function smoothed(points, aspect) {
    let line = points;
    for (let i = 0; i < 3; i++) {
        line = line.map((p, k) => {
            const [a, b] = [line[k - 1], line[k + 1]];
            return a && b ? [0, 1].map((axis) => (a[axis] + 2 * p[axis] + b[axis]) / 4) : p;
        });
    }
    const kept = [line[0]];
    for (const p of line) if (apart(p, kept.at(-1), aspect) > 0.01) kept.push(p);
    if (kept.length < 2) kept.push(line.at(-1));
    return kept;
}

export const apart = (a, b, aspect) => Math.hypot(a[0] - b[0], (a[1] - b[1]) / aspect);

const nearest = (distances) => {
    const least = Math.min(...distances);
    return least < NEAR ? distances.indexOf(least) : -1;
};

/** The anchor, or else the stroke, at a place: its index, or -1. */
export const anchorAt = ({ anchors }, place, aspect) => nearest(anchors.map((a) => apart(a, place, aspect)));

export function strokeAt({ strokes }, place, aspect) {
    const to = ([ax, ay], [bx, by]) => {
        const [dx, dy] = [bx - ax, (by - ay) / aspect];
        const along = ((place[0] - ax) * dx + ((place[1] - ay) / aspect) * dy) / (dx * dx + dy * dy || 1);
        const share = Math.min(1, Math.max(0, along));
        return apart(place, [ax + share * (bx - ax), ay + share * (by - ay)], aspect);
    };
    return nearest(strokes.map(({ points }) =>
        points.length ? Math.min(...points.slice(1).map((p, i) => to(points[i], p))) : Infinity,
    ));
}

/** Shows a drawing in an SVG as wide as the picture; `own` is the preset of strokes that name none. */
export function show(svg, { strokes, anchors }, own, aspect, selected) {
    const at = ([x, y]) => [x * WIDE, (y * WIDE) / aspect];
    const dark = { stroke: "#000a", fill: "none", "vector-effect": "non-scaling-stroke", "stroke-linecap": "round" };
    const parts = [];
    strokes.forEach(({ preset, points }, i) => {
        if (points.length < 2) return;
        const line = points.map(at);
        const d = `M${line.map((p) => p.map((n) => n.toFixed(1)).join(" ")).join("L")}${arrow(line)}`;
        const [stroke, thick] = [COLOURS[preset ?? own], i === selected ? 5 : 3];
        parts.push(shape("path", { ...dark, d, "stroke-width": thick + 3 }));
        parts.push(shape("path", { ...dark, d, stroke, "stroke-width": thick }));
        if (PRESETS[preset ?? own].kind === "rooted") {
            parts.push(shape("circle", { cx: line[0][0], cy: line[0][1], r: 9, fill: stroke, stroke: "#000a" }));
        }
    });
    for (const [cx, cy] of anchors.map(at)) {
        parts.push(shape("circle", { ...dark, cx, cy, r: 12, "stroke-width": 4 }));
        parts.push(shape("circle", { ...dark, cx, cy, r: 12, stroke: "#fff", "stroke-width": 2 }));
        parts.push(shape("circle", { cx, cy, r: 4, fill: "#fff", stroke: "#000a" }));
    }
    set(svg, { viewBox: `0 0 ${WIDE} ${WIDE / aspect}` });
    svg.replaceChildren(shape("rect", { width: WIDE, height: WIDE / aspect, fill: "#0000" }), ...parts);
}

function arrow(line) {
    const [x, y] = line.at(-1);
    let back = line.findLast(([px, py]) => Math.hypot(px - x, py - y) > 20) ?? line[0];
    const angle = Math.atan2(y - back[1], x - back[0]);
    const wing = (turn) => `${(x - 30 * Math.cos(angle + turn)).toFixed(1)} ${(y - 30 * Math.sin(angle + turn)).toFixed(1)}`;
    return `M${wing(0.5)}L${x.toFixed(1)} ${y.toFixed(1)}L${wing(-0.5)}`;
}
