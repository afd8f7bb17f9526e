import { z } from 'zod';

const file = () => z.string().min(1).optional();
const day = 86_400;

/** Algorithms of tokens that are signed with a secret. */
export const symmetricAlgorithms = ['HS256', 'HS384', 'HS512'] as const;
/** Those of tokens that are signed with a private key; never any of the others: a public key is no secret. */
export const asymmetricAlgorithms = [
  'RS256',
  'RS384',
  'RS512',
  'PS256',
  'PS384',
  'PS512',
  'ES256',
  'ES384',
  'ES512',
  'EdDSA',
  'Ed25519',
] as const;

const jwtSchema = z
  .strictObject({
    secretFile: file().describe('File with the secret that tokens are signed with (HS256, HS384, HS512).'),
    publicKeyFile: file().describe('PEM file with the public key, or certificate, of whoever signs the tokens.'),
    jwksFile: file().describe('File with a JSON Web Key Set.'),
    jwksUrl: z
      .string()
      .refine(isSafeUrl, 'it must begin with https://; http:// is for this machine only')
      .optional()
      .describe('Where a JSON Web Key Set is fetched from.'),
    algorithms: z
      .array(z.enum([...symmetricAlgorithms, ...asymmetricAlgorithms]))
      .min(1)
      .optional()
      .describe('Algorithms that are accepted; all that fit the key where not given.'),
    issuer: z.string().min(1).optional().describe('The iss that a token must have.'),
    audience: z.string().min(1).optional().describe('The aud that a token must have, or have among others.'),
    clockTolerance: z
      .number()
      .min(0)
      .max(day)
      .default(5)
      .describe('How much the clocks of issuer and broker may differ, in seconds.'),
    userClaim: z.string().min(1).default('sub').describe('The claim that holds the user name.'),
    clientIdClaim: z.string().min(1).optional().describe('A claim that must hold the client identifier.'),
  })
  .superRefine((jwt, context) => {
    const sources = [jwt.secretFile, jwt.publicKeyFile, jwt.jwksFile, jwt.jwksUrl];
    if (sources.filter((source) => source !== undefined).length !== 1) {
      const message = 'give exactly one of secretFile, publicKeyFile, jwksFile and jwksUrl';
      context.addIssue({ code: 'custom', message, input: jwt });
      return;
    }
    const fitting: readonly string[] = jwt.secretFile === undefined ? asymmetricAlgorithms : symmetricAlgorithms;
    const wrong = jwt.algorithms?.findIndex((algorithm) => !fitting.includes(algorithm)) ?? -1;
    if (wrong < 0) return;
    const key = jwt.secretFile === undefined ? 'public keys' : 'a secret';
    const message = `with ${key} these are allowed: ${fitting.join(', ')}`;
    context.addIssue({ code: 'custom', path: ['algorithms', wrong], message, input: jwt.algorithms?.[wrong] });
  });

/** Keys that anybody on the way can replace let anybody in. */
function isSafeUrl(text: string): boolean {
  if (!URL.canParse(text)) return false;
  const { protocol, hostname } = new URL(text);
  const isLocal = hostname === 'localhost' || hostname === '[::1]' || /^127\.\d+\.\d+\.\d+$/.test(hostname);
  return protocol === 'https:' || (protocol === 'http:' && isLocal);
}

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
  jwt: jwtSchema.optional().describe('Which JSON Web Tokens are taken for passwords.'),
  clientIdTemplate: z
    .string()
    .regex(/^[^%*]*%u([^%*]*|[^%*]+\*)$/, 'it must hold %u once, and * at most at its end and not right behind %u')
    .optional()
    .describe("Client identifiers that belong to a user, such as %u or %u-*; clients may not have another user's."),
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
