// A process for each core, as Node's own documentation of cluster has it.
const cluster = require("node:cluster");
const http = require("node:http");
const os = require("node:os");

function answer(response, type, text) {
	response.writeHead(200, { "Content-Type": type, "Content-Length": Buffer.byteLength(text) });
	response.end(text);
}

function withBody(request, then) {
	const parts = [];

	request.on("data", function (part) { parts.push(part); });
	request.on("end", function () { then(Buffer.concat(parts).toString()); });
}

if (cluster.isPrimary) {
	for (let i = 0; i < os.cpus().length; i++)
		cluster.fork();
} else {
	http.createServer(function (request, response) {
		switch (request.url) {
		case "/body":
			withBody(request, function (text) { answer(response, "text/plain", text); });
			break;
		case "/json":
			withBody(request, function (text) { answer(response, "application/json", JSON.stringify(json(text))); });
			break;
		case "/compute":
			answer(response, "application/json", JSON.stringify(compute()));
			break;
		default:
			answer(response, "application/json", JSON.stringify(hello()));
		}
	}).listen(Number(process.argv[2]), "127.0.0.1");
}
