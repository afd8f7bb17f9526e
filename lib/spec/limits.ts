/** Largest value of a variable byte integer, so of a packet's remaining length. @see MQTT 5 §1.5.5 */
export const variableByteIntegerMax = 268_435_455;
/** Packet identifiers, string lengths and Receive Maximum are 16 bits wide. */
export const uint16Max = 65_535;
/** Session Expiry Interval that means "never". @see MQTT 5 §3.1.2.11.2 */
export const sessionNeverExpires = 0xffffffff;
