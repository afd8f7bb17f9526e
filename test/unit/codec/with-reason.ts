/** What `t.throws` has to match: a ProtocolError with this reason code. */
export function withReason(reasonCode: number): Error {
  return { name: /^(Protocol|Connect)Error$/, reasonCode } as unknown as Error;
}
