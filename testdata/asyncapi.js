// Has AsyncAPI's own parser read documents, an array of texts on standard input,
// and prints what it says of each as JSON.
'use strict';

const { Parser } = require('@asyncapi/parser');

const severities = ['error', 'warning', 'information', 'hint'];

async function judge(text) {
  const { document, diagnostics } = await new Parser().parse(text);
  return {
    messages: document === undefined ? 0 : document.allMessages().length,
    diagnostics: diagnostics.map((d) => ({
      severity: severities[d.severity],
      rule: d.code,
      path: d.path.join('.'),
      message: d.message,
    })),
  };
}

async function main() {
  const chunks = [];
  for await (const chunk of process.stdin) {
    chunks.push(chunk);
  }
  const results = [];
  for (const text of JSON.parse(Buffer.concat(chunks).toString())) {
    results.push(await judge(text));
  }
  console.log(JSON.stringify(results));
}

main();
