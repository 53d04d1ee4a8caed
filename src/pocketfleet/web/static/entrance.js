// Sends the ticket at once; whoever comes back to this page by the browser's own button decides anew.
"use strict";

document.getElementById("entrance").requestSubmit();
