'use strict';
const path = require('node:path');

const file = process.platform === 'win32' ? 'thaw.cuda.dll' : 'thaw.cuda.so';

exports.binary = path.join(__dirname, 'prebuilds', `${process.platform}-${process.arch}`, file);
