// Conveniences of all pages, which work without them. Each module is one of them.
import "./copy.js";
import "./forms.js";
import "./frame.js";
import "./live.js";
import "./push.js";
