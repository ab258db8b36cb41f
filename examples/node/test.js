'use strict';

const assert = require('node:assert/strict');
const { count } = require('./lib/count');

assert.deepEqual(count('b a b'), [['b', 2], ['a', 1]]);
assert.deepEqual(count(' \n'), []);
console.log('2 tests passed');
