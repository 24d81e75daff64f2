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
            entry -> {{ ip_digits(ip_host('lower(trim(entry))'), dotted) }}
        ),
        ip_key -> {{ ip_facts(ip_unwrapped('ip_key')) }}
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
