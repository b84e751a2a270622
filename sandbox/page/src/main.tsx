import { StrictMode } from "react";
import { createRoot } from "react-dom/client";
import "slack-blocks-to-jsx/dist/style.css";
import "./style.css";
import { App } from "./app";

const root = document.getElementById("page");
if (!root) {
  throw new Error("index.html has no element for the page");
}
createRoot(root).render(
  <StrictMode>
    <App />
  </StrictMode>,
);
