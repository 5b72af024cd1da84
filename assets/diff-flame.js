// Zoom (click) and search (click "search", or Ctrl-F) in a difference flame graph.
// It reads the boxes' data attributes alone: x and w in pixels unzoomed, d the depth, n the name.
(function () {
  "use strict";
  var boxes = [].slice.call(document.querySelectorAll("g.b"));
  var width = +document.documentElement.getAttribute("data-width");
  var found = document.getElementById("found");
  var data = boxes.map(function (g) {
    return {
      g: g, r: g.querySelector("rect"), t: g.querySelector("text"), n: g.getAttribute("data-n"),
      x: +g.getAttribute("data-x"), w: +g.getAttribute("data-w"), d: +g.getAttribute("data-d")
    };
  });
  function fit(name, w) {
    var most = Math.floor((w - 6) / 7);
    if (most < 3) { return ""; }
    return name.length <= most ? name : name.slice(0, most - 2) + "..";
  }
  function show(to) {
    data.forEach(function (b) {
      var below = b.d < to.d && b.x <= to.x + 0.01 && b.x + b.w >= to.x + to.w - 0.01;
      var above = b.d >= to.d && b.x >= to.x - 0.01 && b.x + b.w <= to.x + to.w + 0.01;
      b.g.style.display = below || above ? "" : "none";
      var x = below ? 10 : 10 + (b.x - to.x) / to.w * width, w = below ? width : b.w / to.w * width;
      b.r.setAttribute("x", x);
      b.r.setAttribute("width", Math.max(w - 0.5, 0.1));
      b.t.setAttribute("x", x + 3);
      b.t.textContent = fit(b.n, w);
    });
  }
  function search() {
    var text = window.prompt("Part of a name:", "");
    if (text === null) { return; }
    var sum = 0, ends = [];
    data.forEach(function (b) {
      var hit = text !== "" && b.d > 0 && b.n.toLowerCase().indexOf(text.toLowerCase()) >= 0;
      b.r.style.stroke = hit ? "#000" : "";
      // What stands on a match is in it already.
      if (hit && !ends.some(function (e) { return b.d > e.d && b.x >= e.x - 0.01 && b.x + b.w <= e.x + e.w + 0.01; })) {
        sum += b.w;
        ends.push(b);
      }
    });
    found.textContent = text === "" ? "" : "matched " + (sum / width * 100).toFixed(1) + " % of the width";
  }
  data.forEach(function (b) { b.g.addEventListener("click", function () { show(b); }); });
  document.getElementById("search").addEventListener("click", search);
  window.addEventListener("keydown", function (e) {
    if (e.ctrlKey && e.key === "f") { e.preventDefault(); search(); }
    if (e.key === "Escape" && data.length) { show(data[0]); }
  });
})();
