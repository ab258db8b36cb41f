// xterm.js puts its rules into <style> elements and the colours of single letters into style attributes. The policy of this
// page lets neither count, as text of a sandbox could be in them. Rules made by script are let: so <style> elements that
// scripts make hand their text to a sheet of the document, and style attributes become declarations.

const make = document.createElement.bind(document);

class Rules {
  #sheet = new CSSStyleSheet();

  constructor(node) {
    Object.defineProperty(node, "textContent", {
      get: () => [...this.#sheet.cssRules].map((rule) => rule.cssText).join("\n"),
      set: (text) => this.#sheet.replaceSync(text),
    });
    const remove = node.remove.bind(node);
    node.remove = () => {
      document.adoptedStyleSheets = document.adoptedStyleSheets.filter((sheet) => sheet !== this.#sheet);
      remove();
    };
    document.adoptedStyleSheets = [...document.adoptedStyleSheets, this.#sheet];
  }
}

document.createElement = (name, options) => {
  if (String(name).toLowerCase() !== "style") return make(name, options);
  const node = make("data");
  node.hidden = true;
  new Rules(node);
  return node;
};

HTMLSpanElement.prototype.setAttribute = function (name, value) {
  if (name === "style") this.style.cssText = value;
  else Element.prototype.setAttribute.call(this, name, value);
};
