import { z } from 'zod';
import { uint16Max } from '../spec/limits.js';
import { checkSocketPath } from './listener-options.js';

/** Options of those who run a broker: what it tells and how it is governed. Part of `optionsSchema`. */
export const operationOptions = {
  logFormat: z
    .enum(['auto', 'json', 'pretty'])
    .default('auto')
    .describe('Log lines as JSON or for reading; auto is for reading on a terminal, else JSON.'),
  metrics: z
    .strictObject({
      host: z.string().min(1).default('127.0.0.1').describe('Address or host name to listen on.'),
      port: z.int().min(0).max(uint16Max).default(9464).describe('TCP port to listen on; 0 takes a free one.'),
    })
    .optional()
    .describe('HTTP listener for /metrics (Prometheus), /healthz and /readyz; none where not given.'),
  admin: z
    .strictObject({
      socket: z.string().min(1).optional().describe('Path of a Unix socket, which only its owner may open.'),
      host: z.string().min(1).default('127.0.0.1').describe('Address or host name to listen on, in place of a socket.'),
      port: z.int().min(0).max(uint16Max).optional().describe('TCP port to listen on; 0 takes a free one.'),
      tokenFile: z
        .string()
        .min(1)
        .optional()
        .describe('File whose first line every request must bear as a token; needed with port.'),
    })
    .superRefine(({ socket, port, tokenFile }, context) => {
      const wrong = (key: string, input: unknown, message: string): void =>
        context.addIssue({ code: 'custom', path: [key], message, input });
      if ((socket === undefined) === (port === undefined)) wrong('port', port, 'give either socket or port');
      if (socket !== undefined) checkSocketPath('socket', socket, (key, message) => wrong(key, socket, message));
      if (port !== undefined && tokenFile === undefined) {
        wrong('tokenFile', tokenFile, 'whoever reaches a port may govern the broker without one');
      }
    })
    .optional()
    .describe('HTTP listener for countersign clients and countersign sessions; none where not given.'),
};
