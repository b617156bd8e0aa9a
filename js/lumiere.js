// What the pack's panels share: one setting, panels on nodes, nodes by the server's ids. Nothing global is touched.

import { api } from "../../scripts/api.js";
import { app } from "../../scripts/app.js";

const SETTING = "Lumiere.Panels";
const panels = new Map(); // widget -> panel
const switched = [];
let made = 0; // panels so far

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
 * A picture with a line of words below it, as the node's last widget; it is no value, so saved workflows and prompts
 * stay as they are.
 *
 * `panel.draw()` brings `panel.picture`, an element, up to date and gives the words. It runs when the graph has
 * changed, and where `redraw` is called; the browser fits the picture to the node and to the zoom.
 */
export function addPanel(node, name, height, panel) {
    const { picture } = panel;
    picture.dataset.lumiere = name;
    Object.assign(picture.style, { flex: "1", minHeight: "0", width: "100%" });
    const words = document.createElement("div");
    Object.assign(words.style, { font: "11px sans-serif", color: "#999", textAlign: "center", whiteSpace: "nowrap" });
    Object.assign(words.style, { overflow: "hidden", textOverflow: "ellipsis" });
    // Out of the flow: in it, a picture would take its own pixels for the size it should have.
    const column = document.createElement("div");
    Object.assign(column.style, { position: "absolute", inset: "0", display: "flex", flexDirection: "column" });
    column.append(picture, words);
    const box = document.createElement("div");
    Object.assign(box.style, { position: "relative", width: "100%", minHeight: `${height}px` });
    box.append(column);
    // A type of its own: Nodes 2.0 would go on showing the panel of a node that an undo has made anew.
    const widget = node.addDOMWidget(name, `lumiere${++made}`, box, {
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
    panels.set(widget, Object.assign(panel, { words }));
    redraw(panel);
    node.setDirtyCanvas?.(true, true);
    return panel;
}

/** Draws a panel. Its fault is told in its own line and once in the console, and goes no further. */
export function redraw(panel) {
    let words;
    try {
        words = panel.draw() ?? "";
        panel.fault = null;
    } catch (error) {
        if (panel.fault !== String(error)) console.error("Lumiere: a panel cannot be drawn.", error);
        panel.fault = String(error);
        words = "This panel cannot be drawn: the browser's console says why.";
    }
    if (panel.words.textContent !== words) panel.words.textContent = words;
}

function redrawAll() {
    for (const panel of panels.values()) redraw(panel);
}

/** Draw the panels when a widget of this node is turned, too: that is not always told as a change of the graph. */
export function follow(node) {
    for (const widget of node.widgets) {
        const { callback } = widget;
        widget.callback = function (...args) {
            const result = callback?.apply(this, args);
            redrawAll();
            return result;
        };
    }
}

export function set(element, attributes) {
    for (const [name, value] of Object.entries(attributes)) element.setAttribute(name, value);
}

/** An SVG element. */
export function shape(name, attributes = {}, ...children) {
    const element = document.createElementNS("http://www.w3.org/2000/svg", name);
    set(element, attributes);
    element.append(...children);
    return element;
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
    name: "lumiere.Panels",
    settings: [
        {
            id: SETTING,
            name: "Show panels on Lumiere nodes",
            category: ["Lumiere", "Nodes", "Panels"],
            tooltip: "The clip while it is sampled, the photo of Motion Brush, the row of Motion Trace, the windows of Long Clips.",
            type: "boolean",
            defaultValue: true,
            onChange(on, before) {
                if (before === undefined || on === before) return;
                if (!on) removePanels();
                for (const call of switched) call(on);
            },
        },
    ],
    setup: () => api.addEventListener("graphChanged", redrawAll),
    afterConfigureGraph: redrawAll, // a loaded graph has its values only now
});
