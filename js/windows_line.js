// Long Clips (MultiDiffusion): its windows over the clip's frames, and what each of them counts.

import { app } from "../../scripts/app.js";
import { addPanel, isOn, nodesIn, panelOf, whenSwitched } from "./lumiere.js";
import { parts } from "./windows.js";

const NAME = "lumiere_windows";
const FRAMES = { Lumiere_EmptyVideo: "frames", EmptyLatentImage: "batch_size" }; // where a graph says how long a clip is
const COLOURS = ["#6fb3ff", "#ffb86b", "#8fdf9b"];
const MOST = 200; // windows that can be told apart

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
    const [frames, known] = framesAround(node, value("window"));
    return { frames, known, window: value("window"), overlap: value("overlap"), weights: value("weights"), wrap: value("wrap") };
}

/** Runs of neighbouring frames: a window that goes on round the end is drawn in two pieces. */
function pieces(part) {
    const cut = part.findIndex(([frame], i) => i && frame < part[i - 1][0]);
    return cut < 0 ? [part] : [part.slice(0, cut), part.slice(cut)];
}

function draw(context, width, height, { frames, known, window, overlap, weights, wrap }) {
    context.font = "11px sans-serif";
    context.fillStyle = "#999";
    const say = (text) => context.fillText(text, 0, height - 4, width);
    if (overlap >= window) return say(`overlap has to be below the window of ${window}`);
    const windows = parts(frames, window, overlap, weights, wrap);
    if (!windows) return;
    const clip = known ? `${frames} frames` : `${frames} frames, for example`;
    say(windows.length > 1 ? `${windows.length} windows over ${clip}` : `one window sees all ${clip}`);
    if (windows.length > MOST) return;

    const x = (frame) => (frame / frames) * width;
    const lanes = windows.length > 1 ? Math.min(4, Math.ceil(window / Math.max(1, window - overlap))) : 1;
    const bars = height - 18; // the bars' lower edge, above the words
    const shares = bars - 6 * lanes - 4; // the shares' lower edge
    const most = Math.max(...windows.flat().map(([, share]) => share));
    windows.forEach((part, i) => {
        context.fillStyle = COLOURS[i % COLOURS.length];
        for (const piece of pieces(part)) {
            const [first, last] = [piece[0][0], piece.at(-1)[0] + 1];
            context.globalAlpha = 0.45;
            context.beginPath();
            context.moveTo(x(first), shares);
            for (const [frame, share] of piece) {
                context.lineTo(x(frame), shares * (1 - share / most));
                context.lineTo(x(frame + 1), shares * (1 - share / most));
            }
            context.lineTo(x(last), shares);
            context.fill();
            context.globalAlpha = 1;
            context.fillRect(x(first), shares + 3 + 6 * (i % lanes), x(last) - x(first), 4);
        }
    });
}

function add(node) {
    if (node.comfyClass !== "Lumiere_MultiDiffusion" || panelOf(node, NAME)) return;
    addPanel(node, NAME, 60, {
        key: () => JSON.stringify(settingsOf(node)),
        draw: (context, width, height) => draw(context, width, height, settingsOf(node)),
    });
}

whenSwitched((on) => {
    if (on) for (const node of nodesIn()) add(node);
});

app.registerExtension({ name: "Lumiere.WindowsLine", nodeCreated: (node) => isOn() && add(node) });
