/** The fields of a PUBLISH to encode that are the whole of these buffers. */
export function wholeOf(topic: Buffer, properties: Buffer, payload: Buffer) {
  return {
    ...{ topic, topicStart: 0, topicEnd: topic.length },
    ...{ properties, propertiesStart: 0, propertiesEnd: properties.length },
    ...{ payload, payloadStart: 0, payloadEnd: payload.length },
  };
}
