"use strict";
// The key of a server that asks for one. It is kept nowhere else, and goes with every call of this page.
let key = "";

const withKey = (headers) => (key ? { Authorization: `Bearer ${key}`, ...headers } : headers);

// Swagger UI would play what a GET of the URL gives. Speech is the answer to a POST, and here already.
const sounds = new WeakMap();
const player = (Original, { React }) => (props) => {
  if (!/^audio\//.test(props.contentType ?? "")) return React.createElement(Original, props);
  if (!sounds.has(props.content)) sounds.set(props.content, URL.createObjectURL(props.content));
  return React.createElement("audio", { controls: true, src: sounds.get(props.content) });
};

// No host but this server's: without `validatorUrl: null` the page would ask one to check the document.
function show() {
  SwaggerUIBundle({
    url: "openapi.json",
    dom_id: "#operations",
    deepLinking: true,
    defaultModelsExpandDepth: 0,
    displayRequestDuration: true,
    syntaxHighlight: false,
    tryItOutEnabled: true,
    validatorUrl: null,
    requestInterceptor: (request) => Object.assign(request, { headers: withKey(request.headers) }),
    plugins: [{ wrapComponents: { responseBody: player } }],
  });
}

async function begin() {
  const answer = await fetch("openapi.json", { method: "HEAD", headers: withKey({}) });
  const form = document.getElementById("key");
  form.hidden = answer.status !== 401;
  if (form.hidden) show();
  else form.querySelector("output").textContent = key ? "This API key is not valid." : "";
}

document.getElementById("key").addEventListener("submit", (event) => {
  event.preventDefault();
  key = event.target.elements.key.value.trim();
  begin();
});
begin();
