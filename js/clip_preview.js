// While a clip is sampled, its node plays all of it so far, at its rate. The pictures come from nodes/preview.py.

import { api } from "../../scripts/api.js";
import { app } from "../../scripts/app.js";
import { addPanel, fitted, isOn, nodeOf, panelOf, pictureOf } from "./lumiere.js";

const NAME = "lumiere_clip";
const CLASSES = new Set(["Lumiere_Sample", "Lumiere_Upscale"]);

function player() {
    const panel = {
        clip: null, // the last event, and its picture
        frame: () => Math.floor((performance.now() / 1000) * panel.clip.fps) % panel.clip.frames,
        key: () => (panel.clip ? `${panel.clip.step} ${panel.clip.serial} ${panel.frame()}` : ""),
        draw(context, width, height) {
            const { clip } = panel;
            if (!clip) return;
            const [x, y, w, h] = fitted(width, height - 16, clip.width / clip.height);
            const [column, row] = [panel.frame() % clip.columns, Math.floor(panel.frame() / clip.columns)];
            context.imageSmoothingQuality = "high";
            context.drawImage(
                clip.picture,
                column * clip.width, row * clip.height, clip.width, clip.height,
                x, y, w, h,
            );
            context.fillStyle = "#999";
            context.font = "11px sans-serif";
            context.textAlign = "center";
            const said = clip.step < clip.steps ? `step ${clip.step} of ${clip.steps}` : "done";
            context.fillText(`${clip.length} frames, ${said}`, width / 2, height - 3, width);
        },
    };
    return panel;
}

let serial = 0;

async function show({ detail }) {
    if (!isOn()) return;
    const arrived = { ...detail, serial: ++serial, picture: await pictureOf(detail.jpeg) };
    const node = nodeOf(detail.node); // asked for late: the graph may have changed meanwhile
    if (!node || !CLASSES.has(node.comfyClass)) return;
    const panel = panelOf(node, NAME) ?? addPanel(node, NAME, 108, player());
    if (!panel.clip || panel.clip.serial < arrived.serial) panel.clip = arrived;
}

app.registerExtension({
    name: "Lumiere.ClipPreview",
    setup: () => api.addEventListener("lumiere.clip", show),
});
