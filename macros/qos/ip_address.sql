{#- What an address says, as a struct:

      ip_key   all bits of the address, 8 hexadecimal digits for IPv4 and 32 for IPv6: sorts as the
               addresses do, and is what ranges are looked up by. Never store it.
      network  the address without its host part, canonical (RFC 5952): /24 of IPv4, /48 of IPv6
      kind     public, private, loopback, link_local, carrier_nat, multicast or unspecified
      problem  why there is no address: missing, not_an_address, no_public_address (in a list)

    Ports, brackets and zones are taken off. An IPv4 address that stands in an IPv6 one (mapped,
    6to4, NAT64) is unwrapped: the first 48 bits of 2002:cb00:714d::1 hold all of it. Of a list, as
    x-forwarded-for has it, the left-most public address counts.

    Never fails. `transform(array(x), name -> …)[0]` names a value, so that it is computed once. -#}
{%- macro ip_address(text) -%}
{%- set octet = '(25[0-5]|2[0-4][0-9]|1[0-9][0-9]|[1-9]?[0-9])' -%}
{%- set dotted = octet ~ '([.]' ~ octet ~ '){3}' -%}
transform(array(
    transform(
        transform(
            split({{ text }}, ','),
            entry -> {{ _ip_hex(_ip_host('lower(trim(entry))'), dotted) }}
        ),
        ip_key -> {{ _ip_facts(_ip_unwrapped('ip_key')) }}
    )
), entries ->
    case
        when size(entries) = 1 and entries[0].network is not null then entries[0]
        when exists(entries, entry -> entry.kind = 'public')
            then filter(entries, entry -> entry.kind = 'public')[0]
        else
            named_struct(
                'ip_key', cast(null as string),
                'network', cast(null as string),
                'kind', cast(null as string),
                'problem',
                case
                    when trim({{ text }}) in ('', '-') or {{ text }} is null then 'missing'
                    when exists(entries, entry -> entry.network is not null)
                        then 'no_public_address'
                    else 'not_an_address'
                end
            )
    end
)[0]
{%- endmacro -%}

{#- An entry without port, brackets and zone. -#}
{%- macro _ip_host(entry) -%}
transform(array({{ entry }}), written ->
    substring_index(
        case
            when written rlike r'^\[[0-9a-f:.]*(%[^\]]*)?\](:[0-9]{1,5})?$'
                then regexp_extract(written, r'^\[([^\]]*)\]', 1)
            when written rlike '^[0-9.]+:[0-9]{1,5}$' then substring_index(written, ':', 1)
            else written
        end,
        -- a zone belongs to IPv6 alone
        case when written like '%:%' then '%' else '\n' end,
        1
    )
)[0]
{%- endmacro -%}

{#- The digits of a host: null where it is no address. -#}
{%- macro _ip_hex(host, dotted) -%}
transform(array({{ host }}), host ->
    case
        when host rlike '^{{ dotted }}$' then {{ _ip_octets('host') }}
        when host like '%:%'
            then
                transform(array(
                    -- the last 32 bits may be written as IPv4
                    case
                        when host rlike ':{{ dotted }}$'
                            then
                                concat(
                                    regexp_extract(host, '^(.*:)[^:]*$', 1),
                                    regexp_replace(
                                        {{ _ip_octets("substring_index(host, ':', -1)") }},
                                        '^(....)', '$1:'
                                    )
                                )
                        else host
                    end
                ), host ->
                    case
                        when
                            host rlike '^[0-9a-f:]+$'
                            and not host rlike '[0-9a-f]{5}|:::|::.*::|^:[^:]|[^:]:$'
                            then
                                transform(array(struct(
                                    filter(
                                        split(substring_index(host, '::', 1), ':'), part -> part <> ''
                                    ) as head,
                                    case
                                        when host like '%::%'
                                            then
                                                filter(
                                                    split(substring_index(host, '::', -1), ':'),
                                                    part -> part <> ''
                                                )
                                        else array()
                                    end as tail
                                )), parts ->
                                    case
                                        when
                                            size(parts.head) + size(parts.tail)
                                            <= if(host like '%::%', 7, 8)
                                            and (
                                                host like '%::%'
                                                or size(parts.head) = 8
                                            )
                                            then
                                                array_join(
                                                    transform(
                                                        concat(
                                                            parts.head,
                                                            array_repeat(
                                                                '0',
                                                                8 - size(parts.head)
                                                                - size(parts.tail)
                                                            ),
                                                            parts.tail
                                                        ),
                                                        part -> lpad(part, 4, '0')
                                                    ),
                                                    ''
                                                )
                                    end
                                )[0]
                    end
                )[0]
    end
)[0]
{%- endmacro -%}

{%- macro _ip_octets(dotted) -%}
array_join(
    transform(
        split({{ dotted }}, '[.]'), part -> lpad(lower(hex(cast(part as int))), 2, '0')
    ),
    ''
)
{%- endmacro -%}

{#- The IPv4 address that an IPv6 address carries: mapped, 6to4, NAT64; else the address. -#}
{%- macro _ip_unwrapped(digits) -%}
case
    when length({{ digits }}) = 8 then {{ digits }}
    when left({{ digits }}, 24) = '00000000000000000000ffff' then right({{ digits }}, 8)
    when left({{ digits }}, 4) = '2002' then substr({{ digits }}, 5, 8)
    when
        left({{ digits }}, 24) = '0064ff9b0000000000000000'
        -- the prefix by itself is a network
        and right({{ digits }}, 8) <> '00000000'
        then right({{ digits }}, 8)
    else {{ digits }}
end
{%- endmacro -%}

{%- macro _ip_facts(digits) -%}
transform(array({{ digits }}), digits ->
    named_struct(
        'ip_key', digits,
        'network',
        case
            when length(digits) = 8
                then
                    concat(
                        conv(left(digits, 2), 16, 10), '.',
                        conv(substr(digits, 3, 2), 16, 10), '.',
                        conv(substr(digits, 5, 2), 16, 10), '.0'
                    )
            when digits is not null
                then
                -- the zeros behind the third group are always the longest run
                concat(
                    regexp_replace(
                        concat_ws(
                            ':',
                            regexp_replace(left(digits, 4), '^0{1,3}', ''),
                            regexp_replace(substr(digits, 5, 4), '^0{1,3}', ''),
                            regexp_replace(substr(digits, 9, 4), '^0{1,3}', '')
                        ),
                        '(^0)?(:0)+$', ''
                    ),
                    '::'
                )
        end,
        'kind',
        case
            when length(digits) = 8
                then
                    case
                        when left(digits, 2) = '7f' then 'loopback'
                        when
                            left(digits, 2) = '0a'
                            or left(digits, 3) = 'ac1'
                            or left(digits, 4) = 'c0a8'
                            then 'private'
                        when left(digits, 4) = 'a9fe' then 'link_local'
                        when left(digits, 4) between '6440' and '647f' then 'carrier_nat'
                        when left(digits, 2) = '00' then 'unspecified'
                        when left(digits, 1) >= 'e' then 'multicast'
                        else 'public'
                    end
            when digits = repeat('0', 32) then 'unspecified'
            when digits = concat(repeat('0', 31), '1') then 'loopback'
            when left(digits, 3) between 'fe8' and 'feb' then 'link_local'
            when left(digits, 2) in ('fc', 'fd') then 'private'
            when left(digits, 2) = 'ff' then 'multicast'
            when digits is not null then 'public'
        end,
        'problem', cast(null as string)
    )
)[0]
{%- endmacro -%}
