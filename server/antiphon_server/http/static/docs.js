"use strict";
// Renders openapi.json as text nodes only: nothing of the schema is ever parsed as HTML.

const DEEPEST = 6;

function element(tag, content = [], name = "") {
  const node = document.createElement(tag);
  if (name) node.className = name;
  node.append(...[content].flat());
  return node;
}

function resolve(schema, root) {
  if (!schema || !schema.$ref) return schema || {};
  const keys = schema.$ref.replace(/^#\//, "").split("/").map((key) => key.replace(/~1/g, "/").replace(/~0/g, "~"));
  return keys.reduce((at, key) => (at || {})[key], root) || {};
}

function typeOf(schema, root) {
  const found = resolve(schema, root);
  if (found.const !== undefined) return JSON.stringify(found.const);
  if (found.enum) return found.enum.map((value) => JSON.stringify(value)).join(" | ");
  const choices = found.anyOf || found.oneOf;
  if (choices) return choices.map((choice) => typeOf(choice, root)).join(" | ");
  if (found.type === "array") {
    const items = typeOf(found.items, root);
    return items.includes(" | ") ? `(${items})[]` : `${items}[]`;
  }
  return found.title && found.properties ? found.title : found.type || "any";
}

function objectsIn(schema, root) {
  const found = resolve(schema, root);
  const choices = found.anyOf || found.oneOf;
  if (choices) return choices.flatMap((choice) => objectsIn(choice, root));
  if (found.type === "array") return objectsIn(found.items, root);
  return found.properties ? [found] : [];
}

function bounds(schema) {
  const words = { minimum: "≥", exclusiveMinimum: ">", maximum: "≤", exclusiveMaximum: "<",
    minLength: "length ≥", maxLength: "length ≤", minItems: "items ≥", maxItems: "items ≤" };
  const parts = [schema, ...(schema.anyOf || [])].flatMap((part) =>
    Object.keys(words).filter((key) => part[key] !== undefined).map((key) => `${words[key]} ${part[key]}`));
  if (schema.default !== undefined && schema.default !== null) parts.push(`default ${JSON.stringify(schema.default)}`);
  return parts.join(", ");
}

function fields(schema, root, depth = 0) {
  const required = new Set(schema.required || []);
  const rows = Object.entries(schema.properties).map(([name, field]) => {
    const inner = depth < DEEPEST ? objectsIn(field, root) : [];
    const notes = element("td", [field.description || "", " ", bounds(field)]);
    notes.append(...inner.map((object) => folded(object, root, depth + 1)));
    return element("tr", [element("td", [element("code", name), required.has(name) ? " *" : ""]),
      element("td", typeOf(field, root)), notes]);
  });
  return element("table", rows);
}

function folded(schema, root, depth) {
  const box = element("details", element("summary", schema.title || "object"));
  // Schemas may refer to themselves, so the inside is made when it is opened.
  box.addEventListener("toggle", () => box.append(fields(schema, root, depth)), { once: true });
  return box;
}

function body(title, content, root) {
  return Object.entries(content || {}).flatMap(([type, media]) => {
    const objects = objectsIn(media.schema, root);
    if (!objects.length) return [element("p", `${title}: ${type}`)];
    return [element("p", `${title}: ${type}`), ...objects.map((object) => folded(object, root, 1))];
  });
}

function operation(path, method, spec, root) {
  const box = element("details", element("summary",
    [element("span", method.toUpperCase(), "method"), element("code", path), ` ${spec.summary || ""}`]));
  if (spec.description) box.append(element("p", spec.description));
  const parameters = (spec.parameters || []).map((given) => element("tr", [element("td", element("code", given.name)),
    element("td", given.in), element("td", typeOf(given.schema, root)), element("td", given.description || "")]));
  if (parameters.length) box.append(element("table", parameters));
  box.append(...body("Request body", (spec.requestBody || {}).content, root));
  for (const [status, response] of Object.entries(spec.responses || {})) {
    box.append(element("p", `${status}: ${response.description || ""}`), ...body(status, response.content, root));
  }
  return box;
}

async function show() {
  const response = await fetch("openapi.json");
  if (!response.ok) throw new Error(`HTTP ${response.status}`);
  const root = await response.json();
  document.getElementById("version").textContent = root.info.version;
  document.getElementById("about").textContent = root.info.description || "";
  const operations = Object.entries(root.paths).flatMap(([path, methods]) =>
    Object.entries(methods).map(([method, spec]) => operation(path, method, spec, root)));
  document.getElementById("operations").replaceChildren(...operations);
}

show().catch((error) => {
  document.getElementById("state").textContent = `The schema could not be read: ${error.message}`;
});
