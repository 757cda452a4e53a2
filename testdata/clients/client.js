// What a user of the npm package ws does with the gateway.
//
// Reads from standard input what to do and writes to standard output what it
// saw, both as JSON, see clients_test.go.
"use strict";

const { once } = require("node:events");
const { readFileSync } = require("node:fs");
const { WebSocket } = require("ws");

// exchange sends messages, one as soon as the one before has come back.
async function exchange(url, subprotocol, messages) {
	const socket = new WebSocket(url, subprotocol);
	await once(socket, "open");
	const received = [];
	for (const message of messages) {
		socket.send(message);
		const [data, binary] = await once(socket, "message");
		received.push({ type: binary ? "binary" : "text", data: data.toString("base64") });
	}
	socket.close(1000);
	const [code] = await once(socket, "close");
	return { subprotocol: socket.protocol, extensions: socket.extensions, received, code };
}

// misbehave sends a message that the server cannot take, and reports the end.
async function misbehave(url, message) {
	const socket = new WebSocket(url);
	await once(socket, "open");
	socket.send(message);
	const [code, reason] = await once(socket, "close");
	return { code, reason: reason.toString() };
}

async function main() {
	const todo = JSON.parse(readFileSync(0, "utf8"));
	console.log(JSON.stringify({
		text: await exchange(todo.url, "kafka-text", todo.text),
		binary: await exchange(todo.url, "kafka-binary", todo.binary.map((m) => Buffer.from(m, "base64"))),
		bad: await misbehave(todo.url, todo.bad),
	}));
}

main();
