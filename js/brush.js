// Motion Brush: strokes and anchors are drawn on the photo, and it moves at once, small, by the field that Run uses.

import { api } from "../../scripts/api.js";
import { app } from "../../scripts/app.js";
import { anchorAt, apart, COLOURS, read, show, smoothed, strokeAt, write } from "./brush_drawing.js";
import { gridOf, layersOf, PRESETS } from "./brush_field.js";
import { painter, pinOf } from "./brush_paint.js";
import { addPanel, follow, isOn, nodeOf, nodesIn, panelOf, pictureOf, redraw, shape, whenSwitched } from "./lumiere.js";

const NAME = "lumiere_brush";
const SIDE = 256; // of the picture that moves
const RATE = 16; // frames a second, at most
const IDLE = 30_000; // milliseconds after which nothing moves until the pointer comes back
const CLICK = 0.012; // photo widths: what the pointer moves less is a click
const WAIT = 60; // milliseconds between two fields while a stroke is drawn
const NOISE = 0.06; // a JPEG's black is not quite black

const isOurs = (node) => node?.comfyClass === "Lumiere_MotionBrush";
const widgetOf = (node, name) => node.widgets.find((widget) => widget.name === name);

/** Where a file of Load Image is seen: "folder/name.png [input]" as its widget has it. */
function address(file, channel) {
    const [, path, type] = /^(.*?)(?: \[(\w+)\])?$/.exec(file);
    const cut = path.lastIndexOf("/");
    const query = { filename: path.slice(cut + 1), subfolder: path.slice(0, Math.max(0, cut)), type: type ?? "input" };
    return api.apiURL(`/view?${new URLSearchParams({ ...query, channel })}`);
}

/** Addresses of photo and mask as far as the graph says them before a run; `linked`: the strokes come over a link. */
function inputsOf(node) {
    const from = (name) => {
        const slot = node.inputs?.findIndex((input) => input.name === name) ?? -1;
        const link = slot < 0 || !node.graph ? null : node.getInputLink?.(slot);
        return link ? { node: node.getInputNode(slot), slot: link.origin_slot } : null;
    };
    const file = (origin) => origin?.node?.widgets?.find((widget) => widget.name === "image")?.value;
    const [image, mask] = [from("image"), from("mask")];
    const photo = image?.node?.comfyClass === "LoadImage" && file(image);
    let black = null; // the mask: white is what is not opaque
    if (mask?.node?.comfyClass === "LoadImage" && mask.slot === 1) black = file(mask);
    return {
        photo: photo ? address(photo, "rgb") : null,
        mask: black ? address(black, "a") : null,
        linked: !!from("strokes"),
    };
}

async function loaded(source) {
    const picture = new Image();
    picture.src = source;
    await picture.decode();
    return picture;
}

/** A picture's pixels, RGBA from 0 to 255, at a size. */
function pixelsOf(picture, width, height) {
    const canvas = Object.assign(document.createElement("canvas"), { width, height });
    const context = canvas.getContext("2d", { willReadFrequently: true });
    context.imageSmoothingQuality = "high";
    context.drawImage(picture, 0, 0, width, height);
    return context.getImageData(0, 0, width, height).data;
}

const clear = (value) => (value < NOISE ? 0 : value);

/** A mask at a size, from 0 to 1: by light, or by what is not opaque; all of it where none is known. */
function maskOf({ mask, opaque }, width, height) {
    if (!mask) return new Float32Array(width * height).fill(1);
    const data = pixelsOf(mask, width, height);
    const at = (i) => (opaque ? 255 - data[4 * i + 3] : data[4 * i]);
    return Float32Array.from({ length: width * height }, (_, i) => clear(at(i) / 255));
}

const element = (name, attributes, style = {}) => {
    const made = Object.assign(document.createElement(name), attributes);
    Object.assign(made.style, style);
    return made;
};

function brushOn(node) {
    const canvas = element("canvas", {}, { position: "absolute", inset: "0", width: "100%", height: "100%" });
    canvas.style.objectFit = "contain";
    const lines = shape("svg", { width: "100%", height: "100%", style: "position: absolute; inset: 0" });
    const stage = element("div", {}, { flex: "1", minHeight: "0", position: "relative", background: "#111" });
    Object.assign(stage.style, { touchAction: "none", cursor: "crosshair" });
    stage.setAttribute("role", "group");
    stage.title = "Drag: a stroke. Click: an anchor, or select a stroke. Delete: the last one. Ctrl+Z: undo.";
    // Keys go to a field: the frontends leave those alone, and would otherwise undo a second time.
    const keys = element("input", { type: "text", readOnly: true }, { position: "absolute", inset: "0", opacity: "0" });
    Object.assign(keys.style, { width: "100%", height: "100%", pointerEvents: "none" });
    keys.ariaLabel = "Photo to draw motion on. Delete takes the last stroke back, space stops the motion.";
    keys.addEventListener("focus", () => Object.assign(stage.style, { outline: "2px solid #fff", outlineOffset: "-2px" }));
    keys.addEventListener("blur", () => (stage.style.outline = "none"));
    stage.append(canvas, lines, keys);
    const bar = element("div", {}, { display: "flex", gap: "4px", font: "11px sans-serif", paddingBottom: "4px" });
    const picture = element("div", {}, { display: "flex", flexDirection: "column" });
    picture.append(bar, stage);

    const preset = bar.appendChild(element("select", { title: "What the next or the selected stroke does" }));
    preset.append(...["", ...Object.keys(PRESETS)].map((name) => element("option", { value: name, text: name })));
    const speed = element("input", { type: "number", min: 0, max: 20, step: 0.005, placeholder: "speed" });
    speed.title = "Photo widths a second for drift and flow, else cycles a second. Empty: the preset's own";
    bar.append(speed);
    for (const tool of [preset, speed]) {
        Object.assign(tool.style, { font: "inherit", minWidth: "0", flex: "1 1 60px" });
        tool.ariaLabel = tool.title;
        tool.addEventListener("pointerdown", (event) => event.stopPropagation());
        tool.addEventListener("keydown", (event) => event.stopPropagation());
    }
    const button = (text, title, act) => {
        const made = element("button", { textContent: text, title, type: "button" }, { font: "inherit" });
        made.ariaLabel = title;
        made.addEventListener("pointerdown", (event) => event.stopPropagation());
        made.addEventListener("click", () => (act(), redraw(panel)));
        return bar.appendChild(made);
    };

    let photo = null; // what is drawn on: { picture, size, mask, opaque }, from the graph or from the last run
    let [source, ran] = ["", null];
    let [small, field, move] = [null, "", null]; // the small photo; what its painter was made of; the painter
    let [line, selected, history, seen, timer, waiting] = [null, -1, [], false, 0, 0];
    let [until, paused] = [0, matchMedia("(prefers-reduced-motion: reduce)").matches];

    const aspect = () => photo.size[0] / photo.size[1];
    const strokes = () => widgetOf(node, "strokes");
    const linked = () => inputsOf(node).linked;
    const drawing = () => read(linked() ? ran?.strokes : strokes().value, photo?.size ?? [1, 1]);

    /** The drawing where it may be changed: there is a photo, and the strokes are the widget's own and can be read. */
    function open() {
        try {
            return photo && !linked() ? drawing() : null;
        } catch {
            return null;
        }
    }

    /** The strokes as a text; said to the frontend, so that they are saved and its own undo knows them. */
    function assign(text) {
        const widget = strokes();
        widget.value = text;
        widget.callback?.(text, app.canvas, node);
        node.setDirtyCanvas?.(true, true);
        app.extensionManager?.workflow?.activeWorkflow?.changeTracker?.checkState?.();
    }

    function put(changed) {
        history = [...history.slice(-99), strokes().value];
        assign(write(changed));
    }

    function undo() {
        if (!history.length || linked()) return;
        selected = -1;
        assign(history.pop());
    }

    function remove() {
        const now = open();
        if (!now?.strokes.length && !now?.anchors.length) return;
        if (now.strokes.length) now.strokes.splice(selected, 1); // the last one where none is selected
        else now.anchors.pop();
        selected = -1;
        put(now);
    }

    function edit() {
        const now = open();
        if (!now?.strokes[selected]) return;
        now.strokes[selected] = { ...tools(), points: now.strokes[selected].points };
        put(now);
        redraw(panel);
    }

    const tools = () => ({
        ...(preset.value && { preset: preset.value }),
        ...(speed.value !== "" && { speed: Math.min(20, Math.max(0, Number(speed.value))) }),
    });
    preset.addEventListener("change", edit);
    speed.addEventListener("change", edit);
    button("\u223f", "A stroke along the mask's own shape", () => {
        const now = open();
        if (now) put({ ...now, strokes: [...now.strokes, { ...tools(), points: [] }] });
    });
    button("\u21b6", "Undo (Ctrl+Z)", undo);
    button("\u2715", "Delete the selected or the last stroke (Delete)", remove);
    const playing = button("||", "Stop or play the motion (space)", () => pause(!paused));

    function pause(on) {
        paused = on;
        until = performance.now() + IDLE;
        play();
    }

    /** The photo as the graph or the last run has it; loaded when it has changed, and then drawn. */
    function find() {
        const { photo: image, mask } = inputsOf(node);
        const wanted = `${image ?? ran?.serial} ${mask ?? ran?.serial}`;
        if (wanted === source) return;
        source = wanted;
        Promise.all([image ? loaded(image) : ran?.photo, mask ? loaded(mask) : ran?.mask])
            .then(([found, shade]) => {
                if (source !== wanted) return;
                const size = image && found ? [found.naturalWidth, found.naturalHeight] : ran?.size;
                photo = found ? { picture: found, size, mask: shade, opaque: !!mask, serial: wanted } : null;
                redraw(panel);
            })
            .catch(() => (photo = null));
    }

    /** The photo at the sizes of the preview and of the field's grid, with its mask. */
    function shrunk(edge) {
        const key = `${photo.serial} ${edge}`;
        if (small?.key === key) return small;
        const [w, h] = photo.size;
        const [width, height] = [w, h].map((n) => Math.max(2, Math.round((n * SIDE) / Math.max(w, h))));
        const [columns, rows] = gridOf(w, h);
        const colours = pixelsOf(photo.picture, columns, rows);
        const pixels = Float32Array.from(pixelsOf(photo.picture, width, height));
        const pin = pinOf(maskOf(photo, width, height), width, height, edge);
        const grid = { width: columns, height: rows, moves: maskOf(photo, columns, rows) };
        const colour = (_, i) => colours[4 * Math.floor(i / 3) + (i % 3)] / 255;
        const frame = new ImageData(width, height);
        Object.assign(canvas, { width, height });
        small = { key, width, height, pixels, pin, grid, frame };
        small.colours = Float32Array.from({ length: 3 * columns * rows }, colour);
        small.empty = !pin.some((p) => p > 0) || !grid.moves.some((m) => m > 0);
        return small;
    }

    /** What paints the small photo, made anew when anything it depends on has changed. */
    function prepare(now) {
        const value = (name) => widgetOf(node, name).value;
        const own = { preset: value("preset"), speed: value("speed") || null, direction: value("direction") };
        if (own.direction < 0) own.direction = null;
        const settings = { motion: value("motion"), seconds: value("frames") / value("fps"), seed: value("variation") };
        const key = JSON.stringify([photo.serial, now, own, settings, value("edge")]);
        if (key === field) return;
        field = key;
        const [{ grid, colours, frame, pixels, empty }, ratio] = [shrunk(value("edge")), aspect()];
        const context = canvas.getContext("2d");
        frame.data.set(pixels);
        context.putImageData(frame, 0, 0);
        move = null;
        if (empty) return;
        const layers = layersOf(now, own, colours, grid.moves, grid.width, grid.height, ratio);
        const paint = painter(small, layers, grid, { ...settings, aspect: ratio });
        move = (phase) => {
            paint(phase, frame.data);
            context.putImageData(frame, 0, 0);
        };
        move.seconds = settings.seconds;
        until = performance.now() + IDLE;
    }

    /** Draw this moment and wait for the next one; out of sight, paused or long untouched, stop. */
    function play() {
        clearTimeout(timer);
        playing.textContent = paused ? "\u25b6" : "||";
        if (!seen || paused || !move || performance.now() > until) return;
        const began = performance.now();
        move((began / 1000 / move.seconds) % 1);
        const spent = performance.now() - began; // a slow machine draws fewer frames, and keeps half its time
        timer = setTimeout(play, Math.max(1000 / RATE - spent, spent));
    }

    /** The drawing with the stroke that is under the pointer now. */
    const withLine = (now) =>
        line?.length > 1 ? { ...now, strokes: [...now.strokes, { ...tools(), points: line }] } : now;

    const panel = {
        picture,
        draw() {
            find();
            if (!photo) return "Run once, or wire Load Image: the photo is shown here, to draw on.";
            let now;
            try {
                now = drawing();
            } catch (error) {
                return `The strokes cannot be read: ${error.message}`;
            }
            if (selected >= now.strokes.length) selected = -1;
            const stroke = now.strokes[selected];
            if (stroke && document.activeElement !== speed) {
                [preset.value, speed.value] = [stroke.preset ?? "", stroke.speed ?? ""];
            }
            preset.options[0].text = widgetOf(node, "preset").value;
            preset.style.color = COLOURS[preset.value] ?? "";
            const shown = withLine(now);
            show(lines, shown, widgetOf(node, "preset").value, aspect(), selected);
            prepare(shown);
            play();
            if (!photo.mask) return "The mask is known after a run; until then everything moves.";
            if (!move) return "The mask is empty: paint what should move.";
            const of = (n, what) => `${n} ${what}${n === 1 ? "" : "s"}`;
            const said = `${of(now.strokes.length, "stroke")}, ${of(now.anchors.length, "anchor")}`;
            if (linked()) return `${said}, over the link of strokes`;
            return now.strokes.length || now.anchors.length ? said : "Drag to draw motion; click for a point that stays.";
        },
        show(arrived) {
            ran = arrived;
        },
        get serial() {
            return ran?.serial ?? 0;
        },
    };

    /** Where the pointer is, in shares of the photo; outside it, at its nearest border. */
    function place(event) {
        const { left, top, width, height } = lines.querySelector("rect").getBoundingClientRect();
        const share = (n) => Math.min(1, Math.max(0, n));
        return [share((event.clientX - left) / width), share((event.clientY - top) / height)];
    }

    stage.addEventListener("pointerdown", (event) => {
        if (event.button || !event.isPrimary) return;
        event.stopPropagation();
        event.preventDefault(); // or the focus would go on to what is under the pointer
        keys.focus({ preventScroll: true });
        if (!open()) return;
        stage.setPointerCapture(event.pointerId);
        line = [place(event)];
    });
    stage.addEventListener("pointermove", (event) => {
        if (performance.now() > until) pause(paused);
        until = performance.now() + IDLE;
        if (!line) return;
        event.stopPropagation();
        const here = place(event);
        if (apart(here, line.at(-1), aspect()) < 0.004) return;
        line.push(here);
        show(lines, withLine(drawing()), widgetOf(node, "preset").value, aspect(), selected);
        waiting ||= setTimeout(() => {
            waiting = 0;
            redraw(panel);
        }, WAIT);
    });
    const done = (event) => {
        if (!line) return;
        const [drawn, at] = [line, line[0]];
        line = null;
        const now = open();
        if (event.type === "pointercancel" || !now) return redraw(panel);
        if (drawn.some((p) => apart(p, at, aspect()) > CLICK)) {
            now.strokes.push({ ...tools(), points: smoothed(drawn, aspect()) });
            selected = -1;
            put(now);
        } else if (anchorAt(now, at, aspect()) >= 0) {
            now.anchors.splice(anchorAt(now, at, aspect()), 1);
            put(now);
        } else if (strokeAt(now, at, aspect()) >= 0) {
            const found = strokeAt(now, at, aspect());
            selected = found === selected ? -1 : found;
        } else {
            now.anchors.push(at);
            put(now);
        }
        redraw(panel);
    };
    stage.addEventListener("pointerup", done);
    stage.addEventListener("pointercancel", done);
    keys.addEventListener("keydown", (event) => {
        const act = {
            Delete: remove,
            Backspace: remove,
            " ": () => pause(!paused),
            Escape: () => (selected = -1),
            ...((event.ctrlKey || event.metaKey) && { z: undo }),
        }[event.key];
        if (!act) return;
        event.preventDefault();
        event.stopPropagation(); // or the frontend would delete the node
        act();
        redraw(panel);
    });
    new IntersectionObserver((changes) => {
        seen = changes.at(-1).isIntersecting;
        play();
    }).observe(canvas);
    return panel;
}

function add(node) {
    if (!panelOf(node, NAME)) addPanel(node, NAME, 300, brushOn(node));
}

whenSwitched((on) => {
    if (on) for (const node of nodesIn()) if (isOurs(node)) add(node);
});

let serial = 0;

async function ran({ detail }) {
    const said = detail.output?.lumiere_brush;
    if (!said || !isOn()) return;
    const arrived = ++serial;
    const [photo, mask] = await Promise.all([pictureOf(said[0]), pictureOf(said[1])]);
    const node = nodeOf(detail.display_node ?? detail.node);
    const panel = isOurs(node) && panelOf(node, NAME);
    if (!panel || panel.serial > arrived) return;
    panel.show({ serial: arrived, photo, mask, strokes: said[2], size: said[3] });
    redraw(panel);
}

app.registerExtension({
    name: "lumiere.MotionBrush",
    setup: () => api.addEventListener("executed", ran),
    nodeCreated(node) {
        if (!isOurs(node)) return;
        follow(node);
        if (isOn()) add(node);
    },
});
