# Countersign in a container. Nothing listens outside it unless something checks who connects, or
# COUNTERSIGN_ALLOW_ANONYMOUS=true says that everybody may: see docs/deploying.md.

FROM node:22-bookworm-slim AS build
WORKDIR /src
COPY package.json package-lock.json tsconfig.json tsconfig.build.json ./
# Native code comes compiled, in packages of its own: no script of a dependency needs to run.
RUN npm ci --ignore-scripts --no-audit --no-fund
COPY lib ./lib
COPY bin ./bin
RUN npx tsc -p tsconfig.build.json && chmod +x dist/bin/countersign.js && npm prune --omit=dev --ignore-scripts

FROM node:22-bookworm-slim
WORKDIR /app
COPY --from=build /src/package.json ./
COPY --from=build /src/node_modules ./node_modules
COPY --from=build /src/dist ./dist
RUN ln -s /app/dist/bin/countersign.js /usr/local/bin/countersign && install -d -o node -g node -m 0700 /data
# By number, so that Kubernetes can see that it is not root.
USER 1000:1000
VOLUME /data
EXPOSE 1883
ENV NODE_ENV=production \
    NODE_OPTIONS=--v8-pool-size=1 \
    COUNTERSIGN_HOST=0.0.0.0 \
    COUNTERSIGN_DATA=/data \
    COUNTERSIGN_METRICS='{"host":"127.0.0.1","port":9464}'
HEALTHCHECK --interval=10s --timeout=5s --start-period=60s --retries=3 \
    CMD ["node", "-e", "fetch('http://127.0.0.1:9464/healthz').then(({ ok }) => process.exit(ok ? 0 : 1), () => process.exit(1))"]
STOPSIGNAL SIGTERM
ENTRYPOINT ["countersign"]
CMD ["start"]
