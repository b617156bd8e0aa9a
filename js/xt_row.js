// Motion Trace: the row is drawn on the clip's first frame, and dragged there.

import { api } from "../../scripts/api.js";
import { app } from "../../scripts/app.js";
import { addPanel, follow, isOn, nodeOf, panelOf, pictureOf, set, shape } from "./lumiere.js";

const NAME = "lumiere_row";
const PENS = { "#000a": 4, "#ffd45c": 2 }; // pixels: a light line with dark edges is seen on any picture

const within = (share) => Math.min(1, Math.max(0, share));

function rowOn(node) {
    const row = node.widgets.find((widget) => widget.name === "row");
    const image = shape("image", { width: "100%", height: "100%" });
    const line = shape("svg", { overflow: "visible", "pointer-events": "none" });
    for (const [stroke, width] of Object.entries(PENS)) {
        const pen = { stroke, "vector-effect": "non-scaling-stroke" };
        line.append(
            shape("line", { ...pen, "stroke-width": width, x2: "100%" }),
            shape("line", { ...pen, "stroke-width": width + 6, "stroke-linecap": "round" }), // a dot to hold it by
        );
    }
    const panel = {
        picture: shape("svg", { overflow: "visible" }, image, line),
        serial: 0,
        show(serial, { src, naturalWidth, naturalHeight }) {
            panel.serial = serial;
            set(panel.picture, { viewBox: `0 0 ${naturalWidth} ${naturalHeight}` });
            set(image, { href: src });
        },
        draw: () => set(line, { y: `${100 * within(row.value)}%` }),
        drag(event) {
            const { top, height } = image.getBoundingClientRect();
            row.value = Math.round(100 * within((event.clientY - top) / height)) / 100;
            row.callback?.(row.value, app.canvas, node);
            node.setDirtyCanvas(true, false);
        },
    };
    return panel;
}

function listen(panel) {
    const { picture } = panel;
    Object.assign(picture.style, { cursor: "ns-resize", touchAction: "none" });
    picture.append(shape("title"));
    picture.lastChild.textContent = "Drag the row that is traced; Run draws it.";
    picture.addEventListener("pointerdown", (event) => {
        if (event.button) return;
        event.stopPropagation();
        picture.setPointerCapture(event.pointerId);
        panel.drag(event);
    });
    picture.addEventListener("pointermove", (event) => {
        if (picture.hasPointerCapture(event.pointerId)) panel.drag(event);
    });
    return panel;
}

let serial = 0;

async function show({ detail }) {
    const frame = detail.output?.lumiere_first_frame?.[0];
    if (!frame || !isOn()) return;
    const arrived = ++serial;
    const picture = await pictureOf(frame);
    const node = nodeOf(detail.display_node ?? detail.node);
    if (node?.comfyClass !== "Lumiere_XTSlice") return;
    const panel = panelOf(node, NAME) ?? addPanel(node, NAME, 120, listen(rowOn(node)));
    if (panel.serial < arrived) panel.show(arrived, picture);
}

app.registerExtension({
    name: "lumiere.XTRow",
    setup: () => api.addEventListener("executed", show),
    nodeCreated: (node) => node.comfyClass === "Lumiere_XTSlice" && follow(node),
});
