// What the pack's panels share: one setting, panels on nodes, nodes by the server's ids. Nothing global is touched.

import { app } from "../../scripts/app.js";

const SETTING = "Lumiere.Panels";
const panels = new Map(); // widget -> panel
const switched = [];

export const isOn = () => app.extensionManager?.setting?.get(SETTING) ?? true;

const rootGraph = () => app.rootGraph ?? app.graph;

/** The node of an id from the server, "1:2:3" being node 3 in subgraph 2 in subgraph 1; null where there is none. */
export function nodeOf(id) {
    let graph = rootGraph();
    let node = null;
    for (const part of String(id).split(":")) {
        node = graph?.getNodeById(Number(part)) ?? null;
        graph = node?.subgraph;
    }
    return node;
}

export function* nodesIn(graph = rootGraph()) {
    for (const node of graph?.nodes ?? []) {
        yield node;
        if (node.subgraph) yield* nodesIn(node.subgraph);
    }
}

/** `call(on)` whenever the artist turns the setting. */
export const whenSwitched = (call) => switched.push(call);

export const panelOf = (node, name) => panels.get(node.widgets?.find((w) => w.name === name));

/**
 * A canvas as the node's last widget; it is no value, so saved workflows and prompts stay as they are.
 *
 * Each animation frame `panel.key()` says what should be seen; when it has changed, `panel.draw(context, width, height)`
 * draws it in CSS pixels. So a panel follows whatever it reads, and hooks into nothing.
 */
export function addPanel(node, name, height, panel) {
    const canvas = document.createElement("canvas");
    canvas.dataset.lumiere = name;
    Object.assign(canvas.style, { position: "absolute", inset: "0", width: "100%", height: "100%" });
    // In a box: alone in a flexible row, a canvas would take its own pixels for the size it should have.
    const box = document.createElement("div");
    Object.assign(box.style, { position: "relative", width: "100%", minHeight: `${height}px` });
    box.append(canvas);
    const widget = node.addDOMWidget(name, "lumiere", box, {
        serialize: false,
        hideOnZoom: false,
        margin: 6,
        getMinHeight: () => height + 12,
    });
    widget.serialize = false; // the node's own list of values: saved by position
    const remove = widget.onRemove;
    widget.onRemove = function () {
        panels.delete(widget);
        remove?.call(this);
    };
    panel.canvas = canvas;
    if (!panels.size) requestAnimationFrame(tick);
    panels.set(widget, panel);
    node.setDirtyCanvas?.(true, true);
    return panel;
}

function tick() {
    for (const panel of panels.values()) if (panel.canvas.isConnected) refresh(panel);
    if (panels.size) requestAnimationFrame(tick);
}

function refresh(panel) {
    const { canvas } = panel;
    const [width, height] = [canvas.clientWidth, canvas.clientHeight];
    if (!width || !height) return;
    // As many pixels as are seen, however far the graph is zoomed in.
    const scale = Math.min(4, Math.max(1, (canvas.getBoundingClientRect().width / width) * devicePixelRatio));
    const key = `${width} ${height} ${scale.toFixed(2)} ${panel.key()}`;
    if (key === panel.drawn) return;
    panel.drawn = key;
    canvas.width = Math.round(width * scale);
    canvas.height = Math.round(height * scale);
    const context = canvas.getContext("2d");
    context.scale(scale, scale);
    panel.draw(context, width, height);
}

/** The largest box of this shape in the middle of another: [x, y, width, height]. */
export function fitted(width, height, aspect) {
    const wide = Math.min(width, height * aspect);
    return [(width - wide) / 2, (height - wide / aspect) / 2, wide, wide / aspect];
}

/** A JPEG in base64, decoded. */
export async function pictureOf(base64) {
    const picture = new Image();
    picture.src = `data:image/jpeg;base64,${base64}`;
    await picture.decode();
    return picture;
}

export function removePanels() {
    for (const node of nodesIn()) {
        for (const widget of node.widgets?.filter((w) => panels.has(w)) ?? []) {
            const spare = widget.computedHeight ?? 0;
            node.removeWidget(widget);
            node.setSize([node.size[0], Math.max(node.computeSize()[1], node.size[1] - spare)]);
        }
    }
}

app.registerExtension({
    name: "Lumiere.Panels",
    settings: [
        {
            id: SETTING,
            name: "Show panels on Lumiere nodes",
            category: ["Lumiere", "Nodes", "Panels"],
            tooltip: "The clip while it is sampled, the row of Motion Trace, the windows of Long Clips.",
            type: "boolean",
            defaultValue: true,
            onChange(on, before) {
                if (before === undefined || on === before) return;
                if (!on) removePanels();
                for (const call of switched) call(on);
            },
        },
    ],
});
