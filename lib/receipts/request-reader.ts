import { type PublishView, readUserProperties } from '../codec/publish.js';
import { parseRequest, type ReceiptRequest } from './request.js';

/** Longest property block whose request is kept. */
const keptBytesMax = 256;

/** Reads requests of PUBLISH packets. Most are like the one before: then their bytes are compared, not parsed. */
export class RequestReader {
  private readonly kept = Buffer.alloc(keptBytesMax);
  private keptLength = -1;
  private keptQos = -1;
  private request: ReceiptRequest | string = '';

  /** @returns as `parseRequest` */
  read(view: PublishView): ReceiptRequest | string {
    const { buffer, propertiesStart: start, propertiesEnd: end, qos } = view;
    const length = end - start;
    if (qos === this.keptQos && length === this.keptLength && this.equals(buffer, start, end)) return this.request;
    const request = parseRequest(readUserProperties(buffer, start, end), qos, false);
    if (length <= keptBytesMax) {
      buffer.copy(this.kept, 0, start, end);
      this.keptLength = length;
      this.keptQos = qos;
      this.request = request;
    }
    return request;
  }

  private equals(buffer: Buffer, start: number, end: number): boolean {
    const { kept } = this;
    for (let at = start; at < end; at++) if (buffer[at] !== kept[at - start]) return false;
    return true;
  }
}
