{#- The struct of ip_address, of the digits of one address; null digits give null fields. -#}
{%- macro ip_facts(digits) -%}
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
