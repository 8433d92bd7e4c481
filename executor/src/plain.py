(lambda plain: lambda value: plain(plain, value))(
    lambda plain, value:
        bool(value) if value is True or value is False
        else {plain(plain, key): plain(plain, item) for key, item in dict.items(value)} if isinstance(value, dict)
        else [plain(plain, item) for item in list.__iter__(value)] if isinstance(value, list)
        else tuple(plain(plain, item) for item in tuple.__iter__(value)) if isinstance(value, tuple)
        else {plain(plain, item) for item in value} if isinstance(value, (set, frozenset, type({}.keys()), type({}.items())))
        else str.__str__(value) if isinstance(value, str)
        else bytes(value) if isinstance(value, (bytes, bytearray))
        else int.__index__(value) if isinstance(value, int)
        else float.__float__(value) if isinstance(value, float)
        else (lambda top, bottom: top if bottom == 1 else top / bottom if (top / bottom).as_integer_ratio() == (top, bottom) else value)(*value.as_integer_ratio())
        if hasattr(value, 'as_integer_ratio') and value == value
        else value.item() if type(value).__module__ == 'numpy' and getattr(value, 'ndim', 1) == 0
        else value
)
