'use strict';

const { readFileSync } = require('node:fs');
const { count } = require('./lib/count');

for (const [word, times] of count(readFileSync(process.argv[2], 'utf8')).slice(0, 3)) {
  console.log(`${times} ${word}`);
}
