// `console`, and values as text much as Node writes them. Only what a program prints depends on it.
(function (write) {
    'use strict';
    const { ownKeys, getOwnPropertyDescriptor, getPrototypeOf } = Reflect;
    const { is: same } = Object;
    const { isArray } = Array;
    const MOST_ITEMS = 100;
    const MOST_DEEP = 2;
    const LINE = 72;

    const quote = (text) => {
        const mark = !text.includes("'") ? "'" : !text.includes('"') ? '"' : !text.includes('`') ? '`' : "'";
        const escaped = JSON.stringify(text).slice(1, -1).replaceAll('\\"', '"');
        return mark + (mark === "'" ? escaped.replaceAll("'", "\\'") : escaped) + mark;
    };
    const nameOf = (object) => {
        for (let at = object; at !== null; at = getPrototypeOf(at)) {
            const described = getOwnPropertyDescriptor(at, 'constructor');
            if (described && typeof described.value === 'function') return described.value.name;
        }
        return null;
    };
    const simple = (value, nested) => {
        switch (typeof value) {
            case 'string': return nested ? quote(value) : value;
            case 'number': return same(value, -0) ? '-0' : `${value}`;
            case 'bigint': return `${value}n`;
            case 'object': return value === null ? 'null' : undefined;
            case 'function': {
                const source = Function.prototype.toString.call(value);
                if (source.startsWith('class')) return `[class ${value.name || '(anonymous)'}]`;
                const kind = nameOf(value) || 'Function';
                return value.name ? `[${kind}: ${value.name}]` : `[${kind} (anonymous)]`;
            }
            default: return String(value);
        }
    };
    const inspect = (value, above = []) => {
        const text = simple(value, true);
        if (text !== undefined) return text;
        if (above.includes(value)) return '[Circular *1]';
        const name = nameOf(value);
        if (value instanceof Date) return Number.isNaN(value.getTime()) ? 'Invalid Date' : value.toISOString();
        if (value instanceof RegExp) return String(value);
        if (value instanceof Error) {
            const head = String(value);
            return above.length ? `[${head}]` : `${head}\n${value.stack || ''}`.trimEnd();
        }
        if (value instanceof Number || value instanceof String || value instanceof Boolean) {
            return `[${name}: ${simple(value.valueOf(), true)}]`;
        }
        const listed = isArray(value) || ArrayBuffer.isView(value);
        if (above.length > MOST_DEEP) return listed ? '[Array]' : `[${name || 'Object'}]`;
        const inside = [...above, value];
        const show = (item) => inspect(item, inside);
        let parts = [];
        let head = '';
        if (listed) {
            head = isArray(value) && name === 'Array' ? '' : `${name}(${value.length}) `;
            for (let index = 0; index < Math.min(value.length, MOST_ITEMS); index++) {
                parts.push(index in value ? show(value[index]) : '<1 empty item>');
            }
            if (value.length > MOST_ITEMS) parts.push(`... ${value.length - MOST_ITEMS} more items`);
        } else if (value instanceof Map) {
            head = `${name}(${value.size}) `;
            parts = [...value].map(([key, item]) => `${show(key)} => ${show(item)}`);
        } else if (value instanceof Set) {
            head = `${name}(${value.size}) `;
            parts = [...value].map(show);
        } else if (value instanceof Promise) {
            head = 'Promise ';
        } else if (name !== 'Object') {
            head = name === null ? '[Object: null prototype] ' : `${name} `;
        }
        const isIndex = (key) => listed && typeof key === 'string' && /^\d+$/.test(key);
        for (const key of ownKeys(value)) {
            const described = getOwnPropertyDescriptor(value, key);
            if (!described || !described.enumerable || isIndex(key)) continue;
            const label = typeof key === 'symbol' ? `[${String(key)}]` : /^[A-Za-z_$][\w$]*$/.test(key) ? key : quote(key);
            const accessor = described.get ? (described.set ? '[Getter/Setter]' : '[Getter]') : '[Setter]';
            parts.push(`${label}: ${'value' in described ? show(described.value) : accessor}`);
        }
        const [open, close] = listed ? ['[', ']'] : ['{', '}'];
        if (parts.length === 0) return `${head}${open}${close}`;
        const line = `${head}${open} ${parts.join(', ')} ${close}`;
        if (line.length <= LINE && !line.includes('\n')) return line;
        const indented = parts.map((part) => `  ${part.replaceAll('\n', '\n  ')}`);
        return `${head}${open}\n${indented.join(',\n')}\n${close}`;
    };
    const display = (value) => simple(value, false) ?? inspect(value);
    const format = (...values) => {
        if (typeof values[0] !== 'string' || values.length === 1) return values.map(display).join(' ');
        let next = 1;
        const text = values[0].replace(/%[sdifjoOc%]/g, (place) => {
            if (place === '%%') return '%';
            if (next >= values.length) return place;
            const value = values[next++];
            switch (place) {
                case '%s': return typeof value === 'object' && value !== null ? inspect(value) : display(value);
                case '%d': return typeof value === 'bigint' ? `${value}n` : display(Number(value));
                case '%i': return typeof value === 'bigint' ? `${value}n` : display(parseInt(value, 10));
                case '%f': return display(parseFloat(value));
                case '%j': return JSON.stringify(value);
                case '%c': return '';
                default: return inspect(value);
            }
        });
        return [text, ...values.slice(next).map(display)].join(' ');
    };

    let indent = '';
    const counts = new Map();
    const print = (stream, values) => write(stream, indent + format(...values).replaceAll('\n', `\n${indent}`) + '\n');
    const console = {
        log: (...values) => print(1, values),
        info: (...values) => print(1, values),
        debug: (...values) => print(1, values),
        dir: (value) => print(1, [inspect(value)]),
        table: (value) => print(1, [inspect(value)]),
        error: (...values) => print(2, values),
        warn: (...values) => print(2, values),
        trace: (...values) => print(2, values),
        assert: (condition, ...values) => {
            if (!condition) print(2, values.length ? ['Assertion failed:', ...values] : ['Assertion failed']);
        },
        group: (...values) => {
            if (values.length) print(1, values);
            indent += '  ';
        },
        groupEnd: () => void (indent = indent.slice(2)),
        count: (label = 'default') => {
            counts.set(label, (counts.get(label) || 0) + 1);
            print(1, [`${label}: ${counts.get(label)}`]);
        },
        time: () => undefined,
        timeEnd: () => undefined,
        timeLog: () => undefined,
    };

    return { console, inspect, format, print };
});
