// `assert`, as Node has it. A test that is run as statements is given it by the host; so it takes everything that it uses
// from the language before the program can change it, and cannot be changed itself.
(function () {
    'use strict';
    const { ownKeys, getOwnPropertyDescriptor, getPrototypeOf, defineProperty } = Reflect;
    const { is: same, freeze } = Object;
    const { isArray } = Array;
    const call = Function.prototype.call.bind(Function.prototype.call);
    const mapEach = Map.prototype.forEach;
    const setEach = Set.prototype.forEach;
    const mapSize = getOwnPropertyDescriptor(Map.prototype, 'size').get;
    const setSize = getOwnPropertyDescriptor(Set.prototype, 'size').get;
    const mapGet = Map.prototype.get;
    const mapHas = Map.prototype.has;
    const setHas = Set.prototype.has;
    const dateTime = Date.prototype.getTime;
    const regexpText = RegExp.prototype.toString;
    const regexpTest = RegExp.prototype.exec;
    const promiseThen = Promise.prototype.then;
    const OwnError = Error;
    const OwnPromise = Promise;
    const OwnTypeError = TypeError;

    const put = (list, value) =>
        defineProperty(list, list.length, { value, writable: true, enumerable: true, configurable: true });
    const attempt = (method, value) => {
        try {
            return { value: call(method, value) };
        } catch {
            return undefined;
        }
    };

    const entries = (collection) => {
        const list = [];
        if (attempt(mapSize, collection)) {
            call(mapEach, collection, (value, key) => put(list, freeze([key, value])));
        } else {
            call(setEach, collection, (value) => put(list, value));
        }
        return list;
    };

    const enumerable = (object) => {
        const keys = [];
        const all = ownKeys(object);
        for (let index = 0; index < all.length; index++) {
            const described = getOwnPropertyDescriptor(object, all[index]);
            if (described && described.enumerable) put(keys, all[index]);
        }
        return keys;
    };

    const deepEqual = (left, right, strict, seen) => {
        if (strict ? same(left, right) : left == right || (left !== left && right !== right)) return true;
        if (typeof left !== 'object' || typeof right !== 'object' || left === null || right === null) return false;
        if (strict && getPrototypeOf(left) !== getPrototypeOf(right)) return false;
        if (isArray(left) !== isArray(right)) return false;
        for (let above = seen; above; above = above.next) {
            if (above.left === left && above.right === right) return true;
        }
        const inside = { left, right, next: seen, __proto__: null };
        const recurse = (a, b) => deepEqual(a, b, strict, inside);
        for (const read of [dateTime, regexpText]) {
            const [a, b] = [attempt(read, left), attempt(read, right)];
            const differs = !a !== !b || (a && !same(a.value, b.value));
            if (read === dateTime && differs) return false;
            if (read === regexpText && left instanceof RegExp && differs) return false;
        }
        const [leftMap, rightMap] = [attempt(mapSize, left), attempt(mapSize, right)];
        const [leftSet, rightSet] = [attempt(setSize, left), attempt(setSize, right)];
        if (!leftMap !== !rightMap || !leftSet !== !rightSet) return false;
        if (leftMap && !sameMaps(left, right, recurse)) return false;
        if (leftSet && !sameSets(left, right, recurse)) return false;
        if (isArray(left) && left.length !== right.length) return false;
        const [leftKeys, rightKeys] = [enumerable(left), enumerable(right)];
        if (leftKeys.length !== rightKeys.length) return false;
        for (let index = 0; index < leftKeys.length; index++) {
            const key = leftKeys[index];
            const described = getOwnPropertyDescriptor(right, key);
            if (!described || !described.enumerable || !recurse(left[key], right[key])) return false;
        }
        return true;
    };

    const sameMaps = (left, right, recurse) => {
        const [ours, theirs] = [entries(left), entries(right)];
        if (ours.length !== theirs.length) return false;
        for (let index = 0; index < ours.length; index++) {
            const [key, value] = ours[index];
            let found = call(mapHas, right, key) && recurse(value, call(mapGet, right, key));
            for (let other = 0; !found && other < theirs.length; other++) {
                found = recurse(key, theirs[other][0]) && recurse(value, theirs[other][1]);
            }
            if (!found) return false;
        }
        return true;
    };

    const sameSets = (left, right, recurse) => {
        const [ours, theirs] = [entries(left), entries(right)];
        if (ours.length !== theirs.length) return false;
        for (let index = 0; index < ours.length; index++) {
            let found = call(setHas, right, ours[index]);
            for (let other = 0; !found && other < theirs.length; other++) found = recurse(ours[index], theirs[other]);
            if (!found) return false;
        }
        return true;
    };

    class AssertionError extends OwnError {
        constructor(options) {
            super(options && options.message);
            defineProperty(this, 'name', { value: 'AssertionError', configurable: true, writable: true });
            defineProperty(this, 'code', { value: 'ERR_ASSERTION', configurable: true, writable: true });
        }
    }

    const fail = (message, otherwise) => {
        if (message instanceof OwnError) throw message;
        throw new AssertionError({ message: message === undefined ? otherwise : `${message}` });
    };
    const demand = (condition, message, otherwise) => {
        if (!condition) fail(message, otherwise);
    };

    // Whether an error is the one that `throws` was told to expect.
    const isExpected = (error, expected) => {
        if (expected === undefined || typeof expected === 'string') return true;
        if (typeof expected === 'function') {
            if (expected.prototype !== undefined && error instanceof expected) return true;
            if (getPrototypeOf(expected) === OwnError || expected === OwnError) return false;
            return call(expected, undefined, error) === true;
        }
        if (expected instanceof RegExp) return call(regexpTest, expected, `${error}`) !== null;
        const keys = enumerable(expected);
        for (let index = 0; index < keys.length; index++) {
            const [wanted, found] = [expected[keys[index]], error[keys[index]]];
            const fits = wanted instanceof RegExp && typeof found === 'string'
                ? call(regexpTest, wanted, found) !== null
                : deepEqual(found, wanted, true);
            if (!fits) return false;
        }
        return true;
    };
    const lastMessage = (expected, message) => (typeof expected === 'string' ? expected : message);

    const assert = function (value, message) {
        demand(value, message, 'the expression is not true');
    };
    const add = (name, value) => defineProperty(assert, name, { value, enumerable: true });
    add('AssertionError', AssertionError);
    add('ok', (value, message) => demand(value, message, 'the expression is not true'));
    add('equal', (a, b, message) => demand(a == b || (a !== a && b !== b), message, 'not equal'));
    add('notEqual', (a, b, message) => demand(!(a == b || (a !== a && b !== b)), message, 'equal'));
    add('strictEqual', (a, b, message) => demand(same(a, b), message, 'not strictly equal'));
    add('notStrictEqual', (a, b, message) => demand(!same(a, b), message, 'strictly equal'));
    add('deepEqual', (a, b, message) => demand(deepEqual(a, b, false), message, 'not deeply equal'));
    add('notDeepEqual', (a, b, message) => demand(!deepEqual(a, b, false), message, 'deeply equal'));
    add('deepStrictEqual', (a, b, message) => demand(deepEqual(a, b, true), message, 'not deeply and strictly equal'));
    add('notDeepStrictEqual', (a, b, message) => demand(!deepEqual(a, b, true), message, 'deeply and strictly equal'));
    add('fail', (message) => fail(message, 'failed'));
    add('ifError', (value) => demand(value === null || value === undefined, undefined, 'there is an error'));
    add('match', (text, pattern, message) =>
        demand(call(regexpTest, pattern, text) !== null, message, 'the text does not match'));
    add('doesNotMatch', (text, pattern, message) =>
        demand(call(regexpTest, pattern, text) === null, message, 'the text matches'));
    add('throws', (act, expected, message) => {
        let caught;
        try {
            act();
        } catch (error) {
            caught = { error };
        }
        demand(caught, lastMessage(expected, message), 'nothing was thrown');
        demand(isExpected(caught.error, expected), message, 'something else was thrown');
    });
    add('doesNotThrow', (act) => void act());
    add('rejects', (act, expected, message) => {
        const promise = typeof act === 'function' ? act() : act;
        return call(
            promiseThen,
            new OwnPromise((resolve) => resolve(promise)),
            () => fail(lastMessage(expected, message), 'nothing was thrown'),
            (error) => demand(isExpected(error, expected), message, 'something else was thrown'),
        );
    });
    add('doesNotReject', (act) => (typeof act === 'function' ? act() : act));
    add('strict', assert);
    freeze(assert);

    // Loops and destructuring in a test are to do what they say, so the ways to iterate over what is built in cannot be changed.
    // An object may still have a way of its own.
    const lock = (prototype, key) => {
        const { value: original } = getOwnPropertyDescriptor(prototype, key);
        defineProperty(prototype, key, {
            get: () => original,
            set(value) {
                if (this !== prototype) {
                    defineProperty(this, key, { value, writable: true, enumerable: true, configurable: true });
                }
            },
            enumerable: false,
            configurable: false,
        });
    };
    const iterables = [[], '', new Map(), new Set()];
    for (let index = 0; index < iterables.length; index++) {
        lock(getPrototypeOf(iterables[index][Symbol.iterator]()), 'next');
    }
    const typedArray = getPrototypeOf(Uint8Array.prototype);
    const prototypes = [Array.prototype, String.prototype, Map.prototype, Set.prototype, typedArray];
    for (let index = 0; index < prototypes.length; index++) lock(prototypes[index], Symbol.iterator);

    return freeze({ assert, deepEqual, entries, enumerable });
});
