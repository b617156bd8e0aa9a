// Motion Trace: the row is drawn on the clip's first frame, and dragged there.

import { api } from "../../scripts/api.js";
import { app } from "../../scripts/app.js";
import { addPanel, fitted, isOn, nodeOf, panelOf, pictureOf } from "./lumiere.js";

const NAME = "lumiere_row";

function rowOn(node) {
    const row = node.widgets.find((widget) => widget.name === "row");
    const panel = {
        picture: null,
        serial: 0,
        key: () => `${panel.serial} ${row.value}`,
        box: (width, height) => fitted(width, height, panel.picture.naturalWidth / panel.picture.naturalHeight),
        draw(context, width, height) {
            if (!panel.picture) return;
            const [x, y, w, h] = panel.box(width, height);
            context.drawImage(panel.picture, x, y, w, h);
            const line = Math.min(height - 2, Math.max(2, y + h * Math.min(1, Math.max(0, row.value))));
            for (const [colour, thick] of [["#000a", 4], ["#ffd45c", 2]]) {
                context.strokeStyle = context.fillStyle = colour;
                context.lineWidth = thick;
                context.beginPath();
                context.moveTo(x, line);
                context.lineTo(x + w, line);
                context.stroke();
            }
            context.beginPath();
            context.arc(x + 7, line, 5, 0, 7);
            context.fill();
        },
        drag(event) {
            const seen = panel.canvas.getBoundingClientRect();
            const { clientWidth: width, clientHeight: height } = panel.canvas;
            const [, y, , h] = panel.box(width, height);
            const at = (((event.clientY - seen.top) / seen.height) * height - y) / h;
            row.value = Math.round(100 * Math.min(1, Math.max(0, at))) / 100;
            row.callback?.(row.value, app.canvas, node);
            node.setDirtyCanvas(true, false);
        },
    };
    return panel;
}

function listen(panel) {
    const { canvas } = panel;
    canvas.style.cursor = "ns-resize";
    canvas.style.touchAction = "none";
    canvas.title = "Drag the row that is traced; Run draws it.";
    canvas.addEventListener("pointerdown", (event) => {
        if (event.button || !panel.picture) return;
        event.stopPropagation();
        canvas.setPointerCapture(event.pointerId);
        panel.drag(event);
    });
    canvas.addEventListener("pointermove", (event) => {
        if (canvas.hasPointerCapture(event.pointerId)) panel.drag(event);
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
    const panel = panelOf(node, NAME) ?? listen(addPanel(node, NAME, 120, rowOn(node)));
    if (panel.serial < arrived) Object.assign(panel, { picture, serial: arrived });
}

app.registerExtension({
    name: "Lumiere.XTRow",
    setup: () => api.addEventListener("executed", show),
});
