/**
 * One goal as a case. `run` gives one row for each network and peer.
 * @typedef {object} Case
 * @property {string} name 'P3'
 * @property {string} title what is measured, at which precisions
 * @property {boolean} [onlyNamed] runs when it is asked for, not with all
 * @property {(context: Context) => Promise<Row[]>} run
 *
 * @typedef {{ name: string, version: string, absent?: undefined } | { name: string, version?: undefined, absent: string }} Peer
 * @typedef {{ torch: Peer, onnxRuntime: Peer }} Peers
 *
 * @typedef {object} Context
 * @property {boolean} quick fewer repeats
 * @property {number} repeats
 * @property {Peers} peers
 * @property {(text: string) => void} note tells the user what is going on
 *
 * @typedef {object} Row
 * @property {string} network
 * @property {Peer} peer
 * @property {string} [mode] what of the peer: 'channels_last'
 * @property {string} unit of `thaw` and `value`
 * @property {number} thaw median
 * @property {number} value the peer's median
 * @property {number} ratio how many times better thaw is; memory: its share of the peer's
 * @property {number} spread the larger of both spreads: distance of the quartiles as a share of the median
 * @property {number} [must] without it the row has no goal: it is only told
 * @property {number} [aim]
 * @property {boolean} [share] the ratio is a share: lower is better
 * @property {string} [remark]
 */

/**
 * A row of times: thaw's and the peer's measured milliseconds, shown as pictures a second where pictures are counted.
 * @returns {Row}
 */
export function timeRow({ network, peer, mode, thaw, other, must, aim, pictures, remark }) {
  const shown = (measured) => (pictures ? (pictures * 1e3) / measured.median : measured.median);
  return {
    network,
    peer,
    ...(mode && { mode }),
    unit: pictures ? 'pictures/s' : 'ms',
    thaw: shown(thaw),
    value: shown(other),
    ratio: other.median / thaw.median,
    spread: Math.max(thaw.spread, other.spread),
    ...(must !== undefined && { must, aim }),
    ...(remark && { remark }),
  };
}

/** A peer that is not installed has a row that says so. @returns {Row} */
export function absentRow({ network, peer, must, aim }) {
  return { network, peer, unit: '', thaw: NaN, value: NaN, ratio: NaN, spread: NaN, must, aim, remark: peer.absent };
}

/** How far a row is from its must: at least 1 is met. */
export const standing = ({ ratio, must, share }) => (share ? must / ratio : ratio / must);
