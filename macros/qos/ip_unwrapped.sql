{#- The IPv4 address that an IPv6 address carries: mapped, 6to4, NAT64; else the address. -#}
{%- macro ip_unwrapped(digits) -%}
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
