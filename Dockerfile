FROM node:22-slim AS build
WORKDIR /build
COPY package.json package-lock.json .npmrc ./
RUN npm ci
COPY tsconfig.json tsconfig.build.json ./
COPY scripts scripts
COPY sandbox sandbox
# The benchmarks share what tests have; none of the three gets into the image.
COPY bench bench
COPY test test
COPY src src
RUN node scripts/run.mjs build

FROM node:22-slim AS dependencies
WORKDIR /build
COPY package.json package-lock.json .npmrc ./
RUN npm ci --omit=dev

FROM node:22-slim
ENV NODE_ENV=production
WORKDIR /opt/spire-federator
COPY --from=dependencies /build/node_modules node_modules
COPY --from=build /build/dist/src dist/src
COPY --from=build /build/dist/workflow-bundle*.js dist/
COPY package.json LICENSE ./
RUN mkdir /var/lib/spire-federator && chown node:node /var/lib/spire-federator
# By number: Kubernetes cannot tell of a name whether it is root.
USER 1000:1000
CMD ["node", "--enable-source-maps", "dist/src/worker.js"]
