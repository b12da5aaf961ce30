// Every feature of MQTT that MQTT.js exposes, against a broker that offers them
// all; see paho_features.py for the settings and test/features_test.go for who reads
// the lines. Nothing here sleeps: each step waits for its event.
"use strict";

const { settings, Peer, check, limited } = require("./mqttjs_suite.js");

const V5 = 5;
const me = settings.user;
const name = settings.name;
const t = (topic) => `devices/${me}/${name}/${topic}`;
const same = (have, want, what = "got") =>
  check(JSON.stringify(have) === JSON.stringify(want), `${what} ${JSON.stringify(have)}, want ${JSON.stringify(want)}`);

// Client is a Peer that keeps CONNACK and shows acknowledgements.
class Client extends Peer {
  constructor(version, id, options = {}) {
    if (version === V5 && options.clean === false) {
      options = { ...options, properties: { sessionExpiryInterval: 3600, ...options.properties } };
    }
    if (version === 3) options = { ...options, protocolId: "MQIsdp" };
    super(version, id && `${name}-${id}`, options);
    this.packets = [];
    this.hungry = [];
    this.client.on("packetreceive", (p) => {
      const i = this.hungry.findIndex(([cmd]) => cmd === p.cmd);
      if (i >= 0) this.hungry.splice(i, 1)[0][1](p);
      else this.packets.push(p);
    });
  }
  // packet is the next one of this kind.
  packet(cmd) {
    const i = this.packets.findIndex((p) => p.cmd === cmd);
    if (i >= 0) return Promise.resolve(this.packets.splice(i, 1)[0]);
    return limited(new Promise((resolve) => this.hungry.push([cmd, resolve])), cmd);
  }
  async enter() {
    this.connack = await this.open();
    return this.connack.sessionPresent;
  }
  say(topic, text, qos = 1, properties, retain = false) {
    return this.publish(topic, text, { qos, retain, properties });
  }
  // ask subscribes and answers the codes; MQTT.js calls a refusal an error.
  async ask(topic, options = {}) {
    this.client.subscribe(topic, { qos: 1, ...options }, () => {});
    return (await this.packet("suback")).granted;
  }
  // quiet: nothing but the marker comes.
  async quiet(topic, text = "marker") {
    await this.say(topic, text);
    await this.get(text);
  }
  async leave() {
    await this.client.endAsync(true);
  }
}

async function entered(...args) {
  const c = new Client(...args);
  await c.enter();
  return c;
}

// 5.0 only
const onlyV5 = {
  async session_expiry() {
    const options = (seconds) => ({ clean: false, properties: { sessionExpiryInterval: seconds } });
    const a = await entered(V5, "se", options(100));
    await a.cut();
    const b = new Client(V5, "se", options(0xffffffff));
    check(await b.enter(), "the session is gone");
    same(b.connack.properties.sessionExpiryInterval, 7 * 24 * 3600);
    await limited(b.client.endAsync(false, { properties: { sessionExpiryInterval: 0 } }), "end");
    const c = new Client(V5, "se", options(100));
    check(!(await c.enter()), "the session outlived DISCONNECT with Session Expiry 0");
    await c.end();
  },

  async will_delay() {
    const w = await entered(V5, "wd-w");
    await w.ask(t("wd"));
    const options = (seconds) => ({
      clean: false,
      will: { topic: t("wd"), payload: Buffer.from("gone"), qos: 1, properties: { willDelayInterval: seconds, contentType: "text/plain", userProperties: { k: "v" } } },
    });
    const a = await entered(V5, "wd-a", options(1));
    await a.cut();
    await w.quiet(t("wd"));
    const { properties } = await w.get("gone");
    same([properties.contentType, properties.userProperties], ["text/plain", { k: "v" }]);
    const b = await entered(V5, "wd-a", options(1000));
    await b.cut();
    const c = new Client(V5, "wd-a", { clean: false });
    check(await c.enter(), "the session is gone");
    await w.quiet(t("wd"), "after the return");
    await Promise.all([c.end(), w.end()]);
  },

  // MQTT.js leaves topics out by itself.
  async alias_in() {
    const a = await entered(V5, "ai", { autoAssignTopicAlias: true });
    same(a.connack.properties.topicAliasMaximum, 32);
    const sent = [];
    a.client.on("packetsend", (p) => p.cmd === "publish" && sent.push([p.topic === "", p.properties && p.properties.topicAlias]));
    await a.ask(t("ai"));
    for (const text of ["1", "2"]) {
      await a.say(t("ai"), text);
      same((await a.get(text)).topic, t("ai"));
    }
    same(sent.map(([, alias]) => alias), [1, 1]);
    await a.end();
  },

  async alias_out() {
    const a = await entered(V5, "ao", { properties: { topicAliasMaximum: 5 } });
    await a.ask(t("ao"));
    const aliases = [];
    const topics = [];
    a.client.on("message", (topic) => topics.push(topic));
    for (const text of ["1", "2"]) {
      await a.say(t("ao"), text);
      aliases.push((await a.get(text)).properties.topicAlias);
    }
    same(topics, [t("ao"), t("ao")]);
    check(aliases[0] >= 1 && aliases[0] <= 5 && aliases[0] === aliases[1], `aliases ${aliases}`);
    await a.end();
  },

  async maximum_packet() {
    const a = await entered(V5, "mp", { properties: { maximumPacketSize: 200 } });
    same(a.connack.properties.maximumPacketSize, 65536);
    await a.ask(t("mp"));
    await a.say(t("mp"), "x".repeat(200));
    await a.quiet(t("mp"));
    await a.leave();
    const b = await entered(V5, "mp-b");
    same(b.connack.properties.receiveMaximum, 32);
    b.say(t("mp"), "x".repeat(70000)).catch(() => {});
    const goodbye = await limited(b.goodbye, "DISCONNECT");
    same(goodbye.reasonCode, 0x95);
    await b.leave();
  },

  async subscription_identifiers() {
    const a = await entered(V5, "si");
    await a.ask(t("si/#"), { properties: { subscriptionIdentifier: 1 } });
    await a.ask(t("si/+"), { properties: { subscriptionIdentifier: 268435455 } });
    await a.say(t("si/x"), "x");
    same((await a.get("x")).properties.subscriptionIdentifier.sort(), [1, 268435455]);
    await a.quiet(t("si/x"));
    await a.end();
  },

  async no_local() {
    const a = await entered(V5, "nl-a");
    const b = await entered(V5, "nl-b");
    await a.ask(t("nl"), { nl: true });
    await a.say(t("nl"), "own");
    await b.say(t("nl"), "other's");
    await a.get("other's");
    await Promise.all([a.end(), b.end()]);
  },

  async retain_options() {
    const a = await entered(V5, "ro");
    const keep = (text) => a.say(t("ro"), text, 1, undefined, true);
    await keep("kept");
    await a.ask(t("ro"), { rh: 2, rap: true });
    await keep("live");
    check((await a.get("live")).retain, "the flag was taken away");
    await a.ask(t("ro"), { rh: 1 });
    await a.quiet(t("ro"));
    await a.ask(t("ro"));
    check((await a.get("live")).retain, "a retained message without the flag");
    await keep("plain");
    check(!(await a.get("plain")).retain, "the flag of a live message was kept");
    await keep("");
    await a.end();
  },

  async message_expiry() {
    const a = await entered(V5, "me", { clean: false });
    await a.ask(t("me"));
    await a.cut();
    const b = await entered(V5, "me-b");
    await b.say(t("me"), "short", 1, { messageExpiryInterval: 1 });
    await b.say(t("me"), "long", 1, { messageExpiryInterval: 100 });
    await b.ask(t("me/later"));
    await b.say("$delayed/2/" + t("me/later"), "two seconds later");
    await b.get("two seconds later");
    const c = new Client(V5, "me", { clean: false });
    check(await c.enter(), "the session is gone");
    const left = (await c.get("long")).properties.messageExpiryInterval;
    check(left >= 60 && left <= 99, `${left} s are left`);
    await c.quiet(t("me"));
    await Promise.all([c.end(), b.end()]);
  },

  async request_response() {
    const a = await entered(V5, "rr-a", { properties: { requestResponseInformation: true } });
    const b = await entered(V5, "rr-b");
    const back = a.connack.properties.responseInformation + name;
    same(back, "replies/" + name);
    check(b.connack.properties.responseInformation === undefined, "Response Information for one who did not ask");
    await a.ask(back);
    await b.ask(t("rr"));
    await a.say(t("rr"), "question", 1, { responseTopic: back, correlationData: Buffer.from([0, 1]) });
    const { responseTopic, correlationData } = (await b.get("question")).properties;
    await b.say(responseTopic, "answer", 1, { correlationData });
    same([...(await a.get("answer")).properties.correlationData], [0, 1]);
    await Promise.all([a.end(), b.end()]);
  },

  // MQTT.js gathers values of a name, so the order within a name is what it shows.
  async user_properties() {
    const a = await entered(V5, "up");
    await a.ask(t("up"));
    await a.say(t("up"), "x", 1, { userProperties: { b: ["2", "1", "3"], a: "ä" } });
    same({ ...(await a.get("x")).properties.userProperties }, { b: ["2", "1", "3"], a: "ä" });
    await a.end();
  },

  async server_keep_alive() {
    const a = await entered(V5, "sk", { keepalive: 600 });
    same(a.connack.properties.serverKeepAlive, 300);
    await a.end();
    const b = await entered(V5, "sk", { keepalive: 200 });
    same(b.connack.properties.serverKeepAlive, undefined);
    await b.end();
  },

  async assigned_id() {
    const ids = [];
    for (let i = 0; i < 2; i++) {
      const a = await entered(V5, "");
      ids.push(a.connack.properties.assignedClientIdentifier);
      await a.end();
    }
    check(ids[0] && ids[1] && ids[0] !== ids[1], `ids ${ids}`);
  },

  // What a developer sees.
  async reasons() {
    const a = await entered(V5, "rs");
    a.say(t("rs/nobody"), "x").catch(() => {});
    same((await a.packet("puback")).reasonCode, 0x10);
    a.say(t("rs/nobody"), "x", 2).catch(() => {});
    same((await a.packet("pubrec")).reasonCode, 0x10);
    a.client.unsubscribe(t("rs/never"), () => {});
    same((await a.packet("unsuback")).granted, [0x11]);
    same(await a.ask(`devices/${settings.other}/x`), [0x87]);
    // MQTT.js checks aliases against CONNACK itself, so this is a Response Topic with a wildcard.
    a.say(t("rs"), "x", 1, { responseTopic: "a/#" }).catch(() => {});
    const goodbye = await limited(a.goodbye, "DISCONNECT");
    same(goodbye.reasonCode, 0x82);
    check(/MQTT-3\.3\.2-14/.test(goodbye.properties.reasonString), `Reason String ${goodbye.properties.reasonString}`);
    await a.leave();
  },

  async small_listener() {
    const a = await entered(V5, "sm", { port: settings.small });
    const p = a.connack.properties;
    same([p.maximumQoS, p.retainAvailable, p.wildcardSubscriptionAvailable, p.sharedSubscriptionAvailable], [1, false, false, false]);
    same(await a.ask(t("sm/#")), [0xa2]);
    same(await a.ask("$share/g/" + t("sm")), [0x9e]);
    same(await a.ask(t("sm"), { qos: 2 }), [1]);
    a.say(t("sm"), "x", 1, undefined, true).catch(() => {});
    const goodbye = await limited(a.goodbye, "DISCONNECT");
    same(goodbye.reasonCode, 0x9a);
    await a.leave();
  },
};

// refused: 3.1 has no code for it and the connection ends.
async function refused(c, topic, reason) {
  if (c.version === 3) {
    c.client.subscribe(topic, { qos: 1 }, () => {});
    await limited(c.closed, "close");
    return c.leave();
  }
  same(await c.ask(topic), [c.version === V5 ? reason : 0x80]);
  return c.end();
}

const every = {
  async round_trip(v) {
    const a = await entered(v, `rt-${v}`);
    same(await a.ask(t("rt"), { qos: 2 }), [2]);
    for (const qos of [0, 1, 2]) {
      await a.say(t("rt"), `${qos}`, qos);
      same((await a.get(`${qos}`)).qos, qos);
    }
    await a.end();
  },

  async resume(v) {
    const a = await entered(v, `re-${v}`, { clean: false });
    await a.ask(t("re"));
    await a.cut();
    const b = await entered(v, `re-b-${v}`);
    for (let i = 0; i < 5; i++) await b.say(t("re"), `${i}`);
    const c = new Client(v, `re-${v}`, { clean: false });
    check((await c.enter()) || v === 3, "the session is gone");
    for (let i = 0; i < 5; i++) await c.get(`${i}`);
    await Promise.all([b.end(), c.end()]);
    const d = await entered(v, `re-${v}`);
    await d.ask(t("re/own"));
    await d.quiet(t("re/own"));
    await d.end();
  },

  async will(v) {
    const w = await entered(v, `wi-w-${v}`);
    await w.ask(t("wi"));
    const a = await entered(v, `wi-${v}`, { will: { topic: t("wi"), payload: Buffer.from("gone"), qos: 1, retain: false } });
    await a.cut();
    await w.get("gone");
    await w.end();
  },

  async sys_topics(v) {
    const a = await entered(v, `sy-${v}`);
    await a.ask("$SYS/broker/uptime");
    for (const retain of [true, false]) {
      const packet = await limited(a.packet("publish"), "figures");
      check(packet.retain === retain && /seconds/.test(packet.payload), `${packet.retain} ${packet.payload}`);
    }
    await a.end();
    const b = await entered(v, `sy-b-${v}`, { username: settings.other, password: settings.other_password });
    await refused(b, "$SYS/broker/uptime", 0x87);
  },

  async events(v) {
    const a = await entered(v, `ev-${v}`);
    await a.ask("$events/client/#");
    const b = await entered(v, `ev-b-${v}`);
    await b.end();
    for (const topic of ["$events/client/connected", "$events/client/disconnected"]) {
      for (;;) {
        const packet = await a.packet("publish");
        const event = JSON.parse(packet.payload);
        if (event.clientid !== `${name}-ev-b-${v}`) continue; // another suite's
        same([packet.topic, event.event, event.username], [topic, topic, me]);
        break;
      }
    }
    await a.end();
  },

  async delayed(v) {
    const a = await entered(v, `de-${v}`);
    await a.ask(t("de"));
    await a.say("$delayed/1/" + t("de"), "later");
    await a.say(t("de"), "now");
    await a.get("now");
    same((await a.get("later")).topic, t("de"));
    await a.end();
  },

  async exclusive(v) {
    const a = await entered(v, `ex-a-${v}`);
    const b = await entered(v, `ex-b-${v}`);
    same(await a.ask("$exclusive/" + t("ex")), [1]);
    await refused(b, "$exclusive/" + t("ex"), 0x97);
    await a.say(t("ex"), "mine");
    same((await a.get("mine")).topic, t("ex"));
    await a.end();
  },

  async rewrite(v) {
    const a = await entered(v, `rw-${v}`);
    await a.ask(`old/${name}/#`);
    await a.say(`old/${name}/x`, "x");
    same((await a.get("x")).topic, `new/${name}/x`);
    await a.end();
  },

  async auto_subscribe(v) {
    const a = await entered(v, `as-${v}`);
    await a.say(`auto/${name}-as-${v}`, "x");
    same((await a.get("x")).qos, 1);
    await a.end();
  },

  async mountpoint(v) {
    const a = await entered(v, `mo-a-${v}`, { port: settings.tenant });
    const b = await entered(v, `mo-b-${v}`);
    await a.ask(`${name}/#`);
    await b.ask(`tenants/${me}/${name}/#`);
    await a.say(`${name}/x`, "x");
    same((await a.get("x")).topic, `${name}/x`);
    same((await b.get("x")).topic, `tenants/${me}/${name}/x`);
    await Promise.all([a.end(), b.end()]);
  },

  async shared(v) {
    const members = [await entered(v, `sh-0-${v}`), await entered(v, `sh-1-${v}`)];
    for (const m of members) await m.ask(`$share/${name}/` + t("sh"));
    const a = await entered(v, `sh-a-${v}`);
    for (let i = 0; i < 4; i++) await a.say(t("sh"), `${i}`);
    for (let i = 0; i < 4; i++) await members[i % 2].get(`${i}`);
    await Promise.all([...members, a].map((c) => c.end()));
  },
};

async function main() {
  const cases = Object.entries(onlyV5).map(([title, run]) => [`v5/${title}`, run]);
  for (const [label, version] of [["v31", 3], ["v311", 4], ["v5", 5]]) {
    for (const [title, run] of Object.entries(every)) cases.push([`${label}/${title}`, () => run(version)]);
  }
  for (const [title, run] of cases) {
    if (settings.path && /\/(mountpoint|small_listener)$/.test(title)) continue; // those listeners are not WebSocket
    const line = { case: title, ok: true, detail: "" };
    try {
      await run();
    } catch (e) {
      line.ok = false;
      line.detail = e.stack;
    }
    console.log(JSON.stringify(line));
  }
  process.exit(0); // a case that failed may have left a connection
}

main();
