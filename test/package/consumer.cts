/** The same package by require. */
import thaw = require('thaw');

export const classes: Promise<number> = thaw.create('resnet18', { classes: 2 }).then((net) => net.labels.length);
