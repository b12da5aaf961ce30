// Runs MQTT.js against a broker and prints one JSON line per case; see
// paho_suite.py for the settings and test/mqttjs_test.go for who reads it.
// Nothing here sleeps: each step waits for its event.
"use strict";

const fs = require("fs");
const mqtt = require("mqtt");

const settings = JSON.parse(process.argv[2]);
const waitMs = 20000; // a limit for hanging, not a pause
const notAuthorized = 0x87;
const takenOver = 0x8e;
const topic = (name) => `devices/${settings.user}/${name}`;
const foreign = (name) => `devices/${settings.other}/${name}`;

function check(ok, text) {
  if (!ok) throw new Error(text);
}

function limited(promise, what) {
  let timer;
  const late = new Promise((_, reject) => {
    timer = setTimeout(() => reject(new Error(`no ${what} within ${waitMs} ms`)), waitMs);
  });
  return Promise.race([promise, late]).finally(() => clearTimeout(timer));
}

// Peer keeps messages that came before anybody asked for them.
class Peer {
  constructor(protocolVersion, clientId, options = {}) {
    this.version = protocolVersion;
    this.messages = [];
    this.wanted = [];
    this.client = mqtt.connect({
      protocol: settings.path ? "wss" : "mqtts", path: settings.path, host: settings.host, port: settings.port,
      ca: fs.readFileSync(settings.ca),
      protocolVersion, clientId, clean: true, reconnectPeriod: 0, connectTimeout: waitMs,
      username: settings.user, password: settings.password, ...options,
    });
    this.failure = new Promise((resolve) => this.client.on("error", resolve));
    this.closed = new Promise((resolve) => this.client.on("close", resolve));
    this.goodbye = new Promise((resolve) => this.client.on("disconnect", resolve));
    this.client.on("message", (t, payload, packet) => {
      const next = this.wanted.shift();
      if (next) next(packet);
      else this.messages.push(packet);
    });
  }
  async open() {
    const up = new Promise((resolve) => this.client.on("connect", resolve));
    const answer = await limited(Promise.race([up, this.failure]), "answer to CONNECT");
    if (answer instanceof Error) throw answer;
    return answer;
  }
  async get(text) {
    const packet = this.messages.length ? this.messages.shift()
      : await limited(new Promise((resolve) => this.wanted.push(resolve)), `message "${text}"`);
    check(packet.payload.toString() === text, `got "${packet.payload}", want "${text}"`);
    return packet;
  }
  publish(t, text, options) {
    return limited(this.client.publishAsync(t, text, options), "acknowledgement");
  }
  subscribe(t, options) {
    return limited(this.client.subscribeAsync(t, options), "SUBACK");
  }
  end() {
    return limited(this.client.endAsync(), "end");
  }
  cut() {
    this.client.stream.destroy();
    return limited(this.closed, "close");
  }
}

const cases = {
  async round_trip(v) {
    const a = new Peer(v, "js-rt");
    await a.open();
    await a.subscribe(topic("js/rt/#"), { qos: 2 });
    for (const qos of [0, 1, 2]) {
      await a.publish(topic(`js/rt/${qos}`), `qos ${qos}`, { qos });
      const packet = await a.get(`qos ${qos}`);
      check(packet.qos === qos, `came at QoS ${packet.qos}`);
    }
    await a.end();
  },

  async retained(v) {
    const a = new Peer(v, "js-ret-a");
    await a.open();
    await a.publish(topic("js/ret"), "kept", { qos: 1, retain: true });
    const b = new Peer(v, "js-ret-b");
    await b.open();
    await b.subscribe(topic("js/ret"), { qos: 1 });
    check((await b.get("kept")).retain, "without the retain flag");
    await a.publish(topic("js/ret"), "", { qos: 1, retain: true });
    await b.get("");
    await Promise.all([a.end(), b.end()]);
  },

  async will(v) {
    const watcher = new Peer(v, "js-will-w");
    await watcher.open();
    await watcher.subscribe(topic("js/will"), { qos: 1 });
    const a = new Peer(v, "js-will-a", { will: { topic: topic("js/will"), payload: Buffer.from("gone"), qos: 1, retain: false } });
    await a.open();
    await a.cut();
    await watcher.get("gone");
    await watcher.end();
  },

  async denied_publish(v) {
    const a = new Peer(v, "js-dp");
    await a.open();
    const outcome = await Promise.race([
      a.publish(foreign("js"), "intruder", { qos: 1 }).then(() => "acknowledged", (e) => e),
      a.closed.then(() => "closed"),
    ]);
    if (v === 5) {
      check(outcome.code === notAuthorized, `want reason code 0x87, got ${outcome.code || outcome}`);
      await a.publish(topic("js/fine"), "fine", { qos: 1 });
      await a.end();
    } else {
      check(outcome === "closed", `want a closed connection, got ${outcome}`);
      await a.client.endAsync(true);
    }
  },

  async denied_subscribe(v) {
    const a = new Peer(v, "js-ds");
    await a.open();
    const seen = new Promise((resolve) => a.client.on("packetreceive", (p) => p.cmd === "suback" && resolve(p.granted)));
    a.subscribe([foreign("#"), topic("js/ds")], { qos: 1 }).catch(() => {}); // MQTT.js calls one refusal an error of all
    const granted = await limited(seen, "SUBACK");
    const failure = v === 5 ? notAuthorized : 0x80;
    check(granted[0] === failure && granted[1] === 1, `got ${granted}`);
    await a.end();
  },

  async takeover(v) {
    const a = new Peer(v, "js-to");
    await a.open();
    const b = new Peer(v, "js-to");
    await b.open();
    await limited(a.closed, "close of the first connection");
    if (v === 5) {
      const packet = await limited(a.goodbye, "DISCONNECT");
      check(packet.reasonCode === takenOver, `reason ${packet.reasonCode}`);
    }
    await a.client.endAsync(true);
    await b.end();
  },

  async resume(v) {
    const options = { clean: false, properties: v === 5 ? { sessionExpiryInterval: 3600 } : undefined };
    const a = new Peer(v, `js-re-${v}`, options);
    check(!(await a.open()).sessionPresent, "a session nobody made");
    await a.subscribe(topic("js/re"), { qos: 1 });
    await a.cut();
    await a.client.endAsync(true);
    const p = new Peer(v, "js-re-p");
    await p.open();
    for (let i = 0; i < 10; i++) await p.publish(topic("js/re"), `${i}`, { qos: 1 });
    const b = new Peer(v, `js-re-${v}`, options);
    check((await b.open()).sessionPresent, "the session is gone");
    for (let i = 0; i < 10; i++) await b.get(`${i}`);
    await Promise.all([p.end(), b.end()]);
  },

  async refused(v) {
    const a = new Peer(v, "js-rf", { password: "wrong" });
    let why;
    try {
      await a.open();
    } catch (e) {
      why = e;
    }
    check(why, "accepted");
    const codes = v === 5 ? [0x86, 0x87] : [4, 5];
    check(codes.includes(why.code), `code ${why.code}: ${why.message}`);
    await a.client.endAsync(true);
  },

  async wrong_ca(v) {
    const a = new Peer(v, "js-ca", { ca: fs.readFileSync(settings.wrong_ca) });
    let why;
    try {
      await a.open();
    } catch (e) {
      why = e;
    }
    check(why && /certificate|issuer|self.signed|SELF_SIGNED|UNABLE_TO/i.test(`${why.code} ${why.message}`), `says: ${why}`);
    await a.client.endAsync(true);
  },
};

async function main() {
  for (const [name, version] of [["v311", 4], ["v5", 5]]) {
    for (const [title, run] of Object.entries(cases)) {
      const line = { case: `${name}/${title}`, ok: true, detail: "" };
      try {
        await run(version);
      } catch (e) {
        line.ok = false;
        line.detail = e.stack;
      }
      console.log(JSON.stringify(line));
    }
  }
  process.exit(0); // a case that failed may have left a connection
}

if (require.main === module) main();
module.exports = { settings, Peer, check, limited };
