import { z } from 'zod';

/** Options that say who may connect and what they may do. Part of `optionsSchema`. */
export const accessOptions = {
  passwordFile: z
    .string()
    .min(1)
    .optional()
    .describe("File with user names and hashed passwords, in Mosquitto's format; see countersign passwd."),
  allowAnonymous: z
    .boolean()
    .optional()
    .describe('Whether clients may connect without a user name; where not given, only if nothing checks passwords.'),
  accessFile: z
    .string()
    .min(1)
    .optional()
    .describe("File that says who may read and write which topics, in Mosquitto's format; else everybody may all."),
  authenticationTimeout: z
    .number()
    .min(0.1)
    .max(3600)
    .default(10)
    .describe('How long the check of credentials may take before the client is refused, in seconds.'),
};
