// Timers on the virtual clock, and as much of Node as programs need that read stdin and print. No verdict depends on it.
(function (host, asserting, text) {
    'use strict';
    const { write, exit, readStdin, readFile, sleep, now } = host;
    const { assert, deepEqual, enumerable } = asserting;
    const { console, inspect, format, print } = text;
    const { defineProperty, getOwnPropertyDescriptor } = Reflect;

    // ---- Timers, on the virtual clock ----

    const timers = [];
    let started = 0;
    const start = (act, delay, again, values) => {
        if (typeof act !== 'function') throw new TypeError('The "callback" argument must be of type function');
        const wait = Math.max(1, Number(delay) || 0);
        const timer = { number: ++started, due: now() + wait, wait, again, act, values, cleared: false };
        timer[Symbol.toPrimitive] = () => timer.number;
        timer.unref = timer.ref = () => timer;
        timers.push(timer);
        return timer;
    };
    const stop = (timer) => {
        const at = timers.findIndex((other) => other === timer || other.number === timer);
        if (at >= 0) timers.splice(at, 1)[0].cleared = true;
        else if (timer && typeof timer === 'object') timer.cleared = true;
    };
    // Runs what is due next, after sleeping until then. Whether there was anything.
    const turn = () => {
        let first = 0;
        for (let index = 1; index < timers.length; index++) {
            if (timers[index].due < timers[first].due) first = index;
        }
        if (timers.length === 0) return false;
        const [timer] = timers.splice(first, 1);
        if (timer.due > now()) sleep(timer.due - now());
        timer.act(...timer.values);
        if (timer.again && !timer.cleared) {
            timer.due = now() + timer.wait;
            timers.push(timer);
        }
        return true;
    };
    const later = (act, ...values) => start(act, 0, false, values);

    // ---- As much of Node as programs need that read stdin ----

    class Emitter {
        #listeners = new Map();
        on(name, act) {
            this.#listeners.set(name, [...(this.#listeners.get(name) || []), act]);
            return this;
        }
        once(name, act) {
            const first = (...values) => {
                this.off(name, first);
                act(...values);
            };
            return this.on(name, first);
        }
        off(name, act) {
            this.#listeners.set(name, (this.#listeners.get(name) || []).filter((other) => other !== act));
            return this;
        }
        emit(name, ...values) {
            const listeners = this.#listeners.get(name) || [];
            for (const act of listeners) act.apply(this, values);
            return listeners.length > 0;
        }
        listenerCount(name) {
            return (this.#listeners.get(name) || []).length;
        }
    }
    Emitter.prototype.addListener = Emitter.prototype.on;
    Emitter.prototype.removeListener = Emitter.prototype.off;

    const split = (text) => {
        const lines = text.split(/\r?\n/);
        if (lines[lines.length - 1] === '') lines.pop();
        return lines;
    };
    class Input extends Emitter {
        fd = 0;
        isTTY = false;
        #flowing = false;
        on(name, act) {
            super.on(name, act);
            if (['data', 'end', 'readable'].includes(name)) this.resume();
            return this;
        }
        resume() {
            if (!this.#flowing) {
                this.#flowing = true;
                later(() => {
                    if (this.listenerCount('readable')) this.emit('readable');
                    else if (this.listenerCount('data')) {
                        const text = readStdin();
                        if (text) this.emit('data', text);
                    }
                    this.emit('end');
                    this.emit('close');
                });
            }
            return this;
        }
        read() {
            return readStdin() || null;
        }
        setEncoding() { return this; }
        pause() { return this; }
        unref() { return this; }
        async *[Symbol.asyncIterator]() {
            const text = readStdin();
            if (text) yield text;
        }
    }
    class Reader extends Emitter {
        #lines;
        #closed = false;
        #questions = [];
        constructor(input) {
            super();
            void input;
            later(() => this.#deliver());
        }
        #next() {
            this.#lines ??= split(readStdin());
            return this.#lines.shift();
        }
        #deliver() {
            if (this.#closed) return;
            if (!this.#questions.length && !this.listenerCount('line')) {
                if (!this.listenerCount('close')) return;
            }
            const line = this.#next();
            if (line === undefined) return this.close();
            if (this.#questions.length) this.#questions.shift()(line);
            else this.emit('line', line);
            later(() => this.#deliver());
        }
        on(name, act) {
            super.on(name, act);
            if (name === 'line') later(() => this.#deliver());
            return this;
        }
        question(text, ...rest) {
            write(1, String(text));
            const act = rest.pop();
            this.#questions.push(act);
            later(() => this.#deliver());
        }
        setPrompt() {}
        prompt() {}
        pause() { return this; }
        resume() { return this; }
        close() {
            if (this.#closed) return;
            this.#closed = true;
            this.emit('close');
        }
        async *[Symbol.asyncIterator]() {
            for (let line = this.#next(); line !== undefined; line = this.#next()) yield line;
            this.close();
        }
    }

    const stdin = new Input();
    const stream = (number) => ({
        fd: number,
        isTTY: false,
        columns: 80,
        write: (text, ...rest) => {
            write(number, String(text));
            const done = rest.pop();
            if (typeof done === 'function') later(done);
            return true;
        },
        end: () => undefined,
        on: () => undefined,
        once: () => undefined,
    });
    const process = Object.assign(new Emitter(), {
        argv: ['node', '/program.js'],
        env: {},
        platform: 'linux',
        exitCode: undefined,
        stdin,
        stdout: stream(1),
        stderr: stream(2),
        exit: (code) => exit(Number(code ?? process.exitCode) || 0),
        cwd: () => '/',
        nextTick: (act, ...values) => queueMicrotask(() => act(...values)),
        uptime: () => now() / 1000,
        hrtime: Object.assign(() => [Math.floor(now() / 1000), Math.floor((now() % 1000) * 1e6)], {
            bigint: () => BigInt(Math.floor(now() * 1e6)),
        }),
        memoryUsage: () => ({ heapUsed: 0, heapTotal: 0, rss: 0 }),
    });

    const failure = (code, message) => Object.assign(new Error(`${code}: ${message}`), { code });
    const readFileSync = (path, options) => {
        const text = path === 0 || path === '/dev/stdin' ? readStdin() : readFile(String(path));
        if (text === undefined) throw failure('ENOENT', `no such file, open '${path}'`);
        const encoding = typeof options === 'string' ? options : options && options.encoding;
        return encoding ? text : Object.assign(new String(text), { toString: () => text });
    };
    const refuse = (path) => {
        throw failure('EROFS', `read-only file system, open '${path}'`);
    };
    const fs = {
        readFileSync,
        existsSync: (path) => readFile(String(path)) !== undefined,
        readFile: (path, ...rest) => {
            const done = rest.pop();
            later(() => {
                let text;
                try {
                    text = readFileSync(path, rest[0]);
                } catch (error) {
                    return done(error);
                }
                done(null, text);
            });
        },
        writeSync: (number, text) => (write(number, String(text)), String(text).length),
        writeFileSync: (path, text) => (path === 1 || path === '/dev/stdout' ? write(1, String(text)) : refuse(path)),
        appendFileSync: refuse,
        promises: { readFile: async (path, options) => readFileSync(path, options), writeFile: async (path) => refuse(path) },
    };
    const readline = {
        createInterface: (options) => new Reader(options && options.input),
        promises: {
            createInterface: (options) => {
                const reader = new Reader(options && options.input);
                const ask = reader.question.bind(reader);
                reader.question = (text) => new Promise((resolve) => ask(text, resolve));
                return reader;
            },
        },
    };
    const util = {
        inspect: (value) => inspect(value),
        format,
        isDeepStrictEqual: (a, b) => deepEqual(a, b, true),
        promisify: (act) => (...values) =>
            new Promise((resolve, reject) => act(...values, (error, value) => (error ? reject(error) : resolve(value)))),
    };
    const modules = {
        __proto__: null,
        assert,
        'assert/strict': assert,
        fs,
        'fs/promises': fs.promises,
        readline,
        'readline/promises': readline.promises,
        util,
        process,
        events: Object.assign(Emitter, { EventEmitter: Emitter }),
        os: { EOL: '\n' },
        perf_hooks: { performance },
        timers: {},
        'timers/promises': { setTimeout: (delay, value) => new Promise((done) => start(done, delay, false, [value])) },
    };
    const module = { exports: {}, id: '.', children: [] };
    const require = (name) => {
        const plain = String(name).replace(/^node:/, '');
        if (plain in modules) return modules[plain];
        throw Object.assign(new Error(`Cannot find module '${name}'`), { code: 'MODULE_NOT_FOUND' });
    };

    const globals = {
        console,
        assert,
        require,
        module,
        exports: module.exports,
        process,
        global: globalThis,
        __filename: '/program.js',
        __dirname: '/',
        print: (...values) => print(1, values),
        setTimeout: (act, delay, ...values) => start(act, delay, false, values),
        setInterval: (act, delay, ...values) => start(act, delay, true, values),
        setImmediate: later,
        clearTimeout: stop,
        clearInterval: stop,
        clearImmediate: stop,
    };
    Object.assign(modules.timers, globals);
    const visible = Object.entries(globals);
    for (const [name, value] of visible) {
        defineProperty(globalThis, name, { value, writable: true, enumerable: false, configurable: true });
    }

    // Names that the program only exports are names that tests may use. A module's exports are given by the host.
    const publish = (exports) => {
        const exported = exports === undefined ? module.exports : exports;
        if (exported === null || (typeof exported !== 'object' && typeof exported !== 'function')) return;
        const names = enumerable(exported);
        if (typeof exported === 'function' && exported.name) publishAs(exported.name, exported);
        for (let index = 0; index < names.length; index++) publishAs(names[index], exported[names[index]]);
        if (exports !== undefined && typeof exports.default === 'function') publishAs(exports.default.name, exports.default);
    };
    const publishAs = (name, value) => {
        if (getOwnPropertyDescriptor(globalThis, name)) return;
        defineProperty(globalThis, name, { value, writable: true, enumerable: true, configurable: true });
    };

    // What tests that are run as statements see: there, an assertion of the console's counts.
    const testConsole = Object.freeze({ ...console, assert });

    return { require, turn, publish, testConsole, beMain: () => void (require.main = module) };
});
