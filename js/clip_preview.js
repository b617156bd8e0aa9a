// While a clip is sampled, its node plays all of it so far, at its rate. The pictures come from nodes/host/preview.py.

import { api } from "../../scripts/api.js";
import { app } from "../../scripts/app.js";
import { addPanel, isOn, nodeOf, panelOf, pictureOf, redraw } from "./lumiere.js";

const NAME = "lumiere_clip";
const CLASSES = new Set(["Lumiere_Sample", "Lumiere_Upscale"]);

function player() {
    const canvas = document.createElement("canvas");
    canvas.style.objectFit = "contain";
    let [seen, timer] = [false, 0];

    /** Draw the frame of this moment, and wait for the next one's; out of sight, stop. */
    function play() {
        clearTimeout(timer);
        if (!seen || !panel.clip) return;
        const { sheet, width, height, columns, frames, fps } = panel.clip;
        const now = (performance.now() / 1000) * fps;
        const frame = Math.floor(now) % frames;
        const [x, y] = [(frame % columns) * width, Math.floor(frame / columns) * height];
        canvas.getContext("2d").drawImage(sheet, x, y, width, height, 0, 0, width, height);
        // Rounded up: a moment too early, the same frame would be drawn again.
        timer = setTimeout(play, Math.ceil((1000 * (1 - (now % 1))) / fps));
    }

    const panel = {
        picture: canvas,
        clip: null, // the last event, and its sheet of frames
        draw() {
            const { width, height, length, step, steps } = panel.clip;
            Object.assign(canvas, { width, height });
            play();
            return `${length} frames, ${step < steps ? `step ${step} of ${steps}` : "done"}`;
        },
    };
    new IntersectionObserver((changes) => {
        seen = changes.at(-1).isIntersecting;
        play();
    }).observe(canvas);
    return panel;
}

let serial = 0;

async function show({ detail }) {
    if (!isOn()) return;
    const arrived = { ...detail, serial: ++serial, sheet: await pictureOf(detail.jpeg) };
    const node = nodeOf(detail.node); // asked for late: the graph may have changed meanwhile
    if (!node || !CLASSES.has(node.comfyClass)) return;
    const panel = panelOf(node, NAME);
    if (panel?.clip.serial > arrived.serial) return;
    if (panel) redraw(Object.assign(panel, { clip: arrived }));
    else addPanel(node, NAME, 108, Object.assign(player(), { clip: arrived }));
}

app.registerExtension({
    name: "lumiere.ClipPreview",
    setup: () => api.addEventListener("lumiere.clip", show),
});
