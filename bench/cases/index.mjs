import p1 from './p01.mjs';
import p2 from './p02.mjs';
import p3 from './p03.mjs';
import p4 from './p04.mjs';
import p5 from './p05.mjs';
import p6 from './p06.mjs';
import p7 from './p07.mjs';
import p8 from './p08.mjs';
import p9 from './p09.mjs';
import p10 from './p10.mjs';
import p11 from './p11.mjs';
import zoo from './zoo.mjs';

/** @type {import('../lib/case.mjs').Case[]} */
export const cases = [p1, p2, p3, p4, p5, p6, p7, p8, p9, p10, p11, zoo];
