/** Path of the binary for this platform; whether there is one, thaw looks when it needs it. */
export declare const binary: string;
