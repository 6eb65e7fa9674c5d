// SPDX-License-Identifier: Apache-2.0
// judge_templates.mjs - npm's @huggingface/jinja for judge_templates.py: a JSON line {template, variables} in, a
// JSON line {text} out, null if it refuses.  Its argument is the folder that has node_modules.
import { createRequire } from "node:module";
import { resolve } from "node:path";
import { createInterface } from "node:readline";

const require = createRequire(resolve(process.argv[2]) + "/");
const { Template } = require("@huggingface/jinja");

for await (const line of createInterface({ input: process.stdin })) {
  const { template, variables } = JSON.parse(line);
  let text = null;
  try {
    text = new Template(template).render(variables);
  } catch {
    // a template may do anything wrong
  }
  console.log(JSON.stringify({ text }));
}
