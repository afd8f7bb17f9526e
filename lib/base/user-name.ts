/** Longest user name that a packet can carry, in bytes. */
const userNameBytesMax = 65_535;

/**
 * True for a user name that CONNECT could bring, without control characters. Who is named elsewhere, by a certificate
 * or a token, is held to that: such names are stored, logged, and stand in patterns for topics.
 */
export function isUserName(text: string): boolean {
  const bytes = Buffer.from(text);
  // Half a surrogate pair would come back from the store as another name.
  return text !== '' && !/\p{Cc}/u.test(text) && bytes.length <= userNameBytesMax && bytes.toString() === text;
}
