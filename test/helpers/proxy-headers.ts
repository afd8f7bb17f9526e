/** Which family and protocol a header of version 2 may name, as its byte 13 has it. */
export const families = { unspecified: 0x00, tcp4: 0x11, udp4: 0x12, tcp6: 0x21, udp6: 0x22, unix: 0x31 } as const;

/** A header of version 1. */
export function lineHeader(text: string): Buffer {
  return Buffer.from(`PROXY ${text}\r\n`, 'latin1');
}

/** What is in a header of version 2. */
export interface BlockFields {
  /** Version in the upper half, command in the lower; 0x21 for PROXY, 0x20 for LOCAL. */
  readonly command?: number;
  readonly family?: number;
  /** Addresses and what follows them. */
  readonly block?: Buffer;
  /** Length to claim; that of the block where not given. */
  readonly length?: number;
}

/** A header of version 2. */
export function blockHeader({ command = 0x21, family = families.tcp4, block, length }: BlockFields): Buffer {
  const bytes = block ?? Buffer.alloc(0);
  const claimed = length ?? bytes.length;
  const fixed = Buffer.from([command, family, claimed >> 8, claimed & 0xff]);
  return Buffer.concat([Buffer.from('0d0a0d0a000d0a515549540a', 'hex'), fixed, bytes]);
}

/** The addresses of a client and of where it connected to. @param source its four or sixteen bytes */
export function addressBlock(source: readonly number[], port: number, more: Buffer = Buffer.alloc(0)): Buffer {
  const ports = Buffer.from([port >> 8, port & 0xff, 0x22, 0xb3]);
  return Buffer.concat([Buffer.from(source), Buffer.alloc(source.length, 1), ports, more]);
}

/** An extension of version 2. */
export function extension(type: number, value: Buffer): Buffer {
  return Buffer.concat([Buffer.from([type, value.length >> 8, value.length & 0xff]), value]);
}
