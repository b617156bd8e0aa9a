// Long Clips (MultiDiffusion): its windows over the clip's frames, and what each of them counts.

import { app } from "../../scripts/app.js";
import { addPanel, follow, isOn, nodesIn, panelOf, set, shape, whenSwitched } from "./lumiere.js";
import { count, outlines, plan } from "./windows.js";

const NAME = "lumiere_windows";
// Where a graph says how long a clip is.
const FRAMES = { Lumiere_EmptyVideo: "frames", EmptyLatentImage: "batch_size" };
const COLOURS = ["#6fb3ff", "#ffb86b", "#8fdf9b"];
const MOST = 200; // windows that can be told apart
const LONGEST = 16384; // frames that are drawn: four times what Empty Clip takes

/** The clip's frames if the graph has exactly one node that says so, else twice the window. */
function framesAround(node, window) {
    const said = [];
    for (const other of node.graph?.nodes ?? []) {
        const name = FRAMES[other.comfyClass];
        if (name && !other.inputs?.some((input) => input.widget?.name === name && input.link != null)) {
            said.push(other.widgets?.find((widget) => widget.name === name)?.value);
        }
    }
    return said.length === 1 && said[0] > 1 ? [said[0], true] : [2 * window, false];
}

function settingsOf(node) {
    const value = (name) => node.widgets.find((widget) => widget.name === name)?.value;
    const [window, overlap, weights, wrap] = ["window", "overlap", "weights", "wrap"].map(value);
    const [frames, known] = framesAround(node, window);
    return { frames, known, window, overlap, weights, wrap };
}

function draw([shares, bars], { frames, known, window, overlap, weights, wrap }) {
    shares.replaceChildren();
    bars.replaceChildren();
    const many = count(frames, window, overlap, wrap);
    if (!many) return `overlap has to be below the window of ${window}`;
    if (wrap && window >= frames) return `to go on round the end, the clip has to be longer than ${window} frames`;
    const clip = known ? `${frames} frames` : `${frames} frames, for example`;
    if (many > MOST || frames > LONGEST) return `${many} windows over ${clip}: too many to draw`;
    const lanes = many > 1 ? Math.min(4, Math.ceil(window / Math.max(1, window - overlap))) : 1;
    set(shares, { viewBox: `0 0 ${frames} 1` });
    set(bars, { viewBox: `0 0 ${frames} ${6 * lanes}` });
    bars.style.height = `${6 * lanes}px`;
    outlines(frames, plan(frames, window, overlap, weights, wrap)).forEach((runs, k) => {
        const fill = COLOURS[k % COLOURS.length];
        for (const { first, end, path } of runs) {
            shares.append(shape("path", { d: path, fill, "fill-opacity": 0.45 }));
            bars.append(shape("rect", { x: first, y: 6 * (k % lanes) + 2, width: end - first, height: 4, fill }));
        }
    });
    return many > 1 ? `${many} windows over ${clip}` : `one window sees all ${clip}`;
}

function add(node) {
    if (panelOf(node, NAME)) return;
    const stretched = { preserveAspectRatio: "none", width: "100%" };
    const parts = [shape("svg", { ...stretched, style: "flex: 1; min-height: 0" }), shape("svg", stretched)];
    const picture = document.createElement("div");
    Object.assign(picture.style, { display: "flex", flexDirection: "column" });
    picture.append(...parts);
    let [drawn, words] = [];
    addPanel(node, NAME, 60, {
        picture,
        draw() {
            const settings = settingsOf(node);
            if (drawn !== JSON.stringify(settings)) words = draw(parts, settings);
            drawn = JSON.stringify(settings);
            return words;
        },
    });
}

const isOurs = (node) => node.comfyClass === "Lumiere_MultiDiffusion";

whenSwitched((on) => {
    if (on) for (const node of nodesIn()) if (isOurs(node)) add(node);
});

app.registerExtension({
    name: "lumiere.WindowsLine",
    nodeCreated(node) {
        if (isOurs(node) || node.comfyClass in FRAMES) follow(node);
        if (isOurs(node) && isOn()) add(node);
    },
});
